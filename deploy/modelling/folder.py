"""Where models lie."""

from pathlib import Path
from typing import TYPE_CHECKING

from deploy.folders import state_folder

if TYPE_CHECKING:
    from schemas.settings import Settings


def models_folder(settings: "Settings") -> Path:
    """The folder that the settings name, else `models` in the state folder."""
    if settings.models.folder is not None:
        return settings.models.folder.expanduser()
    return state_folder(settings.state_dir) / "models"


def with_models_folder(settings: "Settings") -> "Settings":
    """The settings with the folder named: parts that know of no state folder need it."""
    models = settings.models.model_copy(update={"folder": models_folder(settings)})
    return settings.model_copy(update={"models": models})
