"""``robovlms data import-calvin`` and ``import-lerobot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from robovlms_ros.cli.data import Encoding, Quality, Resize, image_format

if TYPE_CHECKING:
    from robovlms_ros.data.episodes import EpisodeSource
    from robovlms_ros.data.folder.format import ImageFormat

Out = Annotated[Path, typer.Option(help="The dataset folder to make, or to continue.")]
Episodes = Annotated[str, typer.Option(help="Some of them only: 0:90, -10:, ::2, or 3,5,8.")]


def import_calvin(
    folder: Annotated[Path, typer.Argument(help="A split: task_ABCD_D/training, for example.")],
    out: Out,
    annotations: Annotated[str, typer.Option(help="Its sub-folder with auto_lang_ann.npy.")] = "lang_annotations",
    episodes: Episodes = ":",
    encoding: Encoding = "jpeg",
    quality: Quality = 95,
    resize: Resize = 0,
) -> None:
    """Import the annotated segments of a CALVIN split.

    Motions become metres and radians (robot profile `calvin`), the gripper command an opening. The pickled
    annotations are read without running anything that is in them.

    Example:

        robovlms data import-calvin task_D_D/training --resize 224 --out datasets/calvin_d
    """
    from robovlms_ros.data.calvin import CalvinSource

    source = CalvinSource(folder, annotations)
    options = {"annotations": annotations, "episodes": episodes}
    run_import(source, "calvin", folder, options, out, episodes, image_format(encoding, quality, resize))


def import_lerobot(
    folder: Annotated[Path, typer.Argument(help="The dataset's folder, with meta/.")],
    out: Annotated[Path | None, typer.Option(help="The dataset folder to make, or to continue.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML file that says what its numbers mean.")] = None,
    print_mapping: Annotated[
        bool, typer.Option("--print-mapping", help="Print a mapping to complete, with what the dataset has.")
    ] = False,
    episodes: Episodes = ":",
    encoding: Encoding = "jpeg",
    quality: Quality = 95,
    resize: Resize = 0,
) -> None:
    """Import a LeRobot dataset, version 2.0, 2.1 or 3.0; lerobot itself is not needed.

    LeRobot datasets differ in what their numbers mean, and few say it: a mapping file does.

    Examples:

        robovlms data import-lerobot my_dataset --print-mapping > my_arm.yaml

        robovlms data import-lerobot my_dataset --mapping my_arm.yaml --resize 224 --out datasets/my_arm
    """
    from robovlms_ros.data.errors import DataError
    from robovlms_ros.data.lerobot.mapping import load_mapping, template
    from robovlms_ros.data.lerobot.metadata import read_metadata
    from robovlms_ros.data.lerobot.source import LeRobotSource

    if print_mapping:
        typer.echo(template(read_metadata(folder).info), nl=False)
        return
    if mapping is None or out is None:
        raise DataError(
            f"--mapping and --out are needed; begin with: robovlms data import-lerobot {folder} --print-mapping > "
            "mapping.yaml"
        )
    described = load_mapping(mapping)
    options = {"mapping": described.model_dump(mode="json"), "episodes": episodes}
    with LeRobotSource(folder, described) as source:
        images = image_format(encoding, quality, resize)
        run_import(source, "lerobot", folder, options, out, episodes, images)


def run_import(
    source: EpisodeSource,
    importer: str,
    folder: Path,
    options: dict[str, Any],
    out: Path,
    episodes: str,
    images: ImageFormat,
) -> None:
    """Write the chosen episodes of ``source`` to ``out``, and print what was made and what was left out."""
    from robovlms_ros.cli.data_tables import print_imported, progress_bar, resumable
    from robovlms_ros.data.convert import convert
    from robovlms_ros.data.folder.format import Origin
    from robovlms_ros.data.selection import Selected, numbers_of

    chosen = Selected(source, numbers_of(episodes, len(source)))
    origin = Origin(importer=importer, path=str(folder.resolve()), options=options)
    with resumable(), progress_bar("importing episodes") as progress:
        info = convert(chosen, out, origin, images=images, progress=progress)
    print_imported(Console(), out, info)
