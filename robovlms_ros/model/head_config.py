"""The policy head's part of a configuration, checked for what does not go together."""

from __future__ import annotations

from robovlms_ros.model.config import ActHeadConfig, RoboVLMConfig
from robovlms_ros.model.errors import ConfigError


def checked_head(config: RoboVLMConfig) -> ActHeadConfig:
    """``config.act_head``; raises `ConfigError` where no robot could be controlled with it."""
    head = config.act_head
    if head is None or not config.train_setup.predict_action:
        raise ConfigError(
            "the configuration switches action prediction off ('act_head' is null or "
            "train_setup.predict_action is false); there is nothing here to control a robot with"
        )
    discrete = head.action_space == "discrete"
    if discrete != (head.type == "DiscreteDecoder"):
        raise ConfigError(
            f"act_head.type is {head.type!r} and act_head.action_space {head.action_space!r}; "
            "a DiscreteDecoder needs 'discrete', and nothing else can have it"
        )
    if discrete and (config.act_encoder or config.state_encoder):
        raise ConfigError(
            "a discrete model takes no action history and no robot state; remove act_encoder and state_encoder"
        )
    if head.action_space == "down_sample" and head.down_sample != "pooling":
        raise ConfigError("act_head.action_space 'down_sample' reads many tokens; set down_sample to 'pooling'")
    if head.pose_dim < 1:
        raise ConfigError(
            "act_head.action_dim leaves nothing beside the gripper; make it larger or with_gripper false"
        )
    if config.act_encoder is not None and config.act_encoder.gripper_dim >= head.action_dim:
        raise ConfigError("act_encoder.gripper_dim must be smaller than act_head.action_dim")
    return head
