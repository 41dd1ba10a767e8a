"""The network: vision-language backbones, policy heads and what joins them. Needs torch, never ROS.

Nothing is imported here: `robovlms_ros.model.errors` and `robovlms_ros.model.config` work without torch.
"""
