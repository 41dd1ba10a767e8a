"""``python -m robovlms_ros.sim.rendering_probe egl``: draws the tabletop once. Exit status 0 where that works.

Run by `robovlms_ros.sim.rendering` and by scripts/rendering.sh.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Draw, look whether there is anything in the image, and say in one line what went wrong."""
    try:
        from robovlms_ros.sim.camera import Renderer
        from robovlms_ros.sim.world import World

        world = World()
        world.reset(0)
        with Renderer(world.model, image_size=32, backend=sys.argv[1]) as renderer:
            image = renderer.draw(world.data, "static")
    except Exception as error:
        cause = error.__cause__ or error
        sys.exit(f"{type(cause).__name__}: {cause}".splitlines()[0])
    if image.std() < 1:
        sys.exit("the image is empty")


if __name__ == "__main__":
    main()
