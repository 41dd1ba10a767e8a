"""The tabletop as MuJoCo sees it: a table, three blocks, a gripper that follows a mocap body, two cameras.

Everything is made of primitives, so there is no asset to ship. The frame `FRAME` has its origin on the table's
top, in the middle, x towards the static camera, y to the right in its image and z up. The tool is the point
between the finger tips; its frame has the axes of `FRAME` at rest and the fingers close along its y axis.
"""

from __future__ import annotations

from robovlms_ros.sim.engine import mujoco

FRAME = "base_link"
COLOURS = ("red", "green", "blue")
BLOCK_RGB = {"red": (0.86, 0.13, 0.13), "green": (0.13, 0.62, 0.20), "blue": (0.12, 0.30, 0.85)}
# Half the edge of a block, in metres.
BLOCK_HALF = 0.02
# How far one finger moves, in metres: an opening of 1 has twice this between the fingers.
FINGER_TRAVEL = 0.04
TIMESTEP = 0.004
SUBSTEPS = 12
STEP_DURATION = TIMESTEP * SUBSTEPS
# Cameras of an observation, and what they are called in the scene.
CAMERAS = {"static": "static", "hand": "wrist"}
# Larger images than this cannot be rendered.
MAX_IMAGE_SIZE = 640
# The tops that a table may have (`robovlms_ros.sim.randomization` picks one).
TABLE_MATERIALS = ("table_plain", "table_wood", "table_checker", "table_speckled")

_BLOCK = """
    <body name="{colour}" pos="0 {y} {half}">
      <freejoint name="{colour}"/>
      <geom name="{colour}" class="block" rgba="{r} {g} {b} 1"/>
    </body>"""

_FINGER = """
      <body name="{side}_finger" pos="0 {sign}0.006 0" gravcomp="1">
        <joint name="{side}_finger" type="slide" axis="0 {sign}1 0" range="0 {travel}" damping="8"
          armature="0.02"/>
        <geom name="{side}_finger" class="finger" type="box" size="0.010 0.006 0.043" pos="0 0 0.029"/>
        <geom class="visual" type="box" size="0.0102 0.0064 0.011" pos="0 0 -0.0032" material="pad"/>
      </body>"""

_SCENE = """
<mujoco model="tabletop">
  <compiler angle="radian"/>
  <option timestep="{timestep}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <statistic center="0 0 0.05" extent="0.8"/>
  <visual>
    <global offwidth="{image}" offheight="{image}"/>
    <quality offsamples="4"/>
    <map znear="0.02" zfar="10"/>
    <headlight ambient="0.38 0.38 0.38" diffuse="0.28 0.28 0.28" specular="0.05 0.05 0.05"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.80 0.86 0.92" rgb2="0.55 0.62 0.70" width="64" height="384"/>
    <texture name="wood" type="2d" builtin="gradient" rgb1="1 1 1" rgb2="0.80 0.76 0.72" width="64" height="64"/>
    <texture name="checker" type="2d" builtin="checker" rgb1="1 1 1" rgb2="0.84 0.84 0.84" width="64" height="64"/>
    <texture name="speckled" type="2d" builtin="flat" rgb1="1 1 1" mark="random" markrgb="0.72 0.72 0.72"
      random="0.08" width="128" height="128"/>
    <material name="table_plain" rgba="0.78 0.70 0.58 1" specular="0.1" shininess="0.1"/>
    <material name="table_wood" texture="wood" texrepeat="1 9" rgba="0.78 0.70 0.58 1" specular="0.1"/>
    <material name="table_checker" texture="checker" texrepeat="5 5" rgba="0.78 0.70 0.58 1" specular="0.1"/>
    <material name="table_speckled" texture="speckled" texrepeat="3 3" rgba="0.78 0.70 0.58 1" specular="0.1"/>
    <material name="block" specular="0.25" shininess="0.3"/>
    <material name="floor" rgba="0.42 0.45 0.50 1" specular="0"/>
    <material name="metal" rgba="0.93 0.93 0.95 1" specular="0.4" shininess="0.4"/>
    <material name="joint" rgba="0.30 0.33 0.38 1" specular="0.3" shininess="0.3"/>
    <material name="finger" rgba="0.22 0.24 0.28 1" specular="0.3" shininess="0.3"/>
    <material name="pad" rgba="0.98 0.62 0.10 1" specular="0.1"/>
  </asset>
  <default>
    <default class="block">
      <geom type="box" size="{half} {half} {half}" mass="0.05" friction="2 0.05 0.001" condim="4" material="block"
        solref="0.008 1" solimp="0.95 0.99 0.001"/>
    </default>
    <default class="finger">
      <geom mass="0.05" friction="2 0.05 0.001" condim="4" material="finger"
        solref="0.008 1" solimp="0.95 0.99 0.001"/>
    </default>
    <default class="visual">
      <geom contype="0" conaffinity="0" mass="0.001" material="metal"/>
    </default>
  </default>
  <worldbody>
    <light name="ceiling" directional="true" pos="0.3 -0.3 1.5" dir="-0.25 0.25 -1" diffuse="0.55 0.55 0.52"
      specular="0.15 0.15 0.15" castshadow="false"/>
    <camera name="static" pos="0.66 0 0.58" xyaxes="0 1 0 -0.6019 0 0.7986" fovy="31"/>
    <geom name="floor" type="plane" size="4 4 0.1" pos="0 0 -0.4" material="floor"/>
    <geom name="table" type="box" size="0.34 0.42 0.02" pos="-0.04 0 -0.02" material="table_plain"
      friction="1 0.05 0.001"/>
    <geom class="visual" type="box" size="0.30 0.38 0.18" pos="-0.04 0 -0.22" rgba="0.5 0.46 0.42 1"/>{blocks}
    <body name="target" mocap="true" pos="0 0 0.2"/>
    <body name="tool" pos="0 0 0.2" gravcomp="1">
      <freejoint name="tool"/>
      <inertial pos="0 0 0.08" mass="1" diaginertia="0.004 0.004 0.004"/>
      <geom name="palm" type="box" size="0.022 0.052 0.012" pos="0 0 0.084" material="metal"/>
      <geom class="visual" type="cylinder" size="0.026 0.012" pos="0 0 0.108" material="joint"/>
      <geom class="visual" type="cylinder" size="0.018 0.40" pos="0 0 0.52" material="metal"/>
      <geom class="visual" type="box" size="0.008 0.014 0.010" pos="-0.100 0 0.093" material="joint"/>
      <geom class="visual" type="box" size="0.036 0.006 0.004" pos="-0.060 0 0.104" material="joint"/>
      <camera name="wrist" pos="-0.085 0 0.085" xyaxes="0 -1 0 0.8042 0 0.5944" fovy="74"/>{fingers}
    </body>
  </worldbody>
  <equality>
    <weld body1="target" body2="tool" relpose="0 0 0 1 0 0 0" solref="0.008 1" solimp="0.95 0.99 0.001"/>
    <joint joint1="left_finger" joint2="right_finger" solref="0.01 1"/>
  </equality>
  <actuator>
    <position name="left_finger" joint="left_finger" kp="400" forcerange="-20 20" ctrlrange="0 {travel}"/>
    <position name="right_finger" joint="right_finger" kp="400" forcerange="-20 20" ctrlrange="0 {travel}"/>
  </actuator>
</mujoco>
"""


def scene_xml() -> str:
    """The scene in MuJoCo's format (MJCF)."""
    blocks = ""
    for index, colour in enumerate(COLOURS):
        r, g, b = BLOCK_RGB[colour]
        blocks += _BLOCK.format(colour=colour, y=0.1 * (index - 1), half=BLOCK_HALF, r=r, g=g, b=b)
    fingers = "".join(
        _FINGER.format(side=side, sign=sign, travel=FINGER_TRAVEL) for side, sign in (("left", ""), ("right", "-"))
    )
    return _SCENE.format(
        timestep=TIMESTEP,
        image=MAX_IMAGE_SIZE,
        half=BLOCK_HALF,
        travel=FINGER_TRAVEL,
        blocks=blocks,
        fingers=fingers,
    )


def build_model() -> mujoco.MjModel:
    """A model of the scene, in which `robovlms_ros.sim.randomization` may change how things look."""
    return mujoco.MjModel.from_xml_string(scene_xml())
