"""From settings to what each series is judged by."""

from processors.detection.book import RuleBook
from processors.detection.directory import DirectoryReader
from processors.detection.facts import DeviceLookup, Directory
from processors.detection.renewal import OwnRules, Renewal, RulesFile
from processors.detection.rules import Rules, read_rules, shipped_rules
from processors.engine.book import ProfileBook, moving_average
from processors.engine.profile import AlarmLimits, Profile
from processors.engine.settings import Sides
from processors.metrics import Metrics
from processors.models.book import with_models
from processors.models.store import ModelStore
from schemas.codec import Codec
from schemas.settings import ProcessorSettings, Settings
from schemas.sources import schema_source


def profile_book(settings: Settings, devices: DeviceLookup | None = None) -> RuleBook:
    """The profiles that the settings ask for, of devices that do not change.

    Raises:
        ConfigError: the rules file is none.
    """
    path = settings.processor.rules
    return rule_book(settings, Rules() if path is None else read_rules(path), devices)


def rule_book(settings: Settings, own: Rules, devices: DeviceLookup | None = None) -> RuleBook:
    """The profiles of a user's own rules, over the package's, over what the settings say.

    The preset moving-average is the sliding window alone: the package's rules are about the other channels.
    """
    preset = own.preset or settings.processor.preset
    shipped = shipped_rules().rules if preset == "standard" else ()
    return RuleBook(_base(preset, settings.processor), (*shipped, *own.rules), devices, storms=own.storms)


def profile_renewal(settings: Settings, metrics: Metrics) -> Renewal:
    """The same for a processor: rules, models and devices are followed while they change. Connects to nothing yet.

    Raises:
        ConfigError: the rules file is none.
    """
    path = settings.processor.rules
    directory = Directory()

    reader = DirectoryReader(settings, Codec(schema_source(settings)), directory)

    store = None if settings.models.folder is None else ModelStore(settings.models.folder)

    def make(own: Rules) -> ProfileBook:
        book = rule_book(settings, own, directory)
        return book if store is None else with_models(book, store.models, directory)

    def remake(own: Rules) -> ProfileBook | None:
        return make(own) if store is not None and store.changed() else None

    if path is None:
        return Renewal(make(Rules()), None, directory, reader, metrics, remake)
    file = RulesFile(path)
    return Renewal(make(file.rules), OwnRules(file, make), directory, reader, metrics, remake)


def _base(preset: str, processor: ProcessorSettings) -> Profile:
    if preset == "standard":
        if "minimum_readings" in processor.model_fields_set:
            return Profile(alarm=AlarmLimits(warmup=processor.minimum_readings))
        return Profile()
    return moving_average(
        window_us=round(processor.window * 1e6),
        panes=processor.panes,
        k=processor.k,
        minimum_readings=processor.minimum_readings,
        sides=Sides[processor.sides.upper()],
    )
