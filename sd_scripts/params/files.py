"""Options: from and to a config file."""

from __future__ import annotations

from sd_scripts.params.spec import param, section


@section("Config file")
class ConfigFile:
    """Options from and to a file."""

    config_file: str | None = param(None, "Read options from this TOML file; the command line counts before it.", label="Config file", path="file")
    output_config: bool = param(False, "Write the given options to the config file, and end.", label="Write config")
