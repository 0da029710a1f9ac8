"""Which layers of a model get an adapter, of which rank and alpha: told of names and kinds of layers, so form and trainer ask the same question."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sd_scripts.errors import ConfigError
from sd_scripts.params.blocks import DEFAULT_RANK, BlockLayout, BlockRanks, block_ranks
from sd_scripts.params.config import Config
from sd_scripts.params.network import OFT_MODULE, AdapterArgs, LoRAArgs, Network

_ONLY_IN_REGEX = re.compile(r"[.^$+()\[\]{}|\\]")
_TURNED = re.compile(r"_attn[12]_to_(q|k|v|out_0)$")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: kohya's name, block of the U-Net (None in a text encoder), whether its kernel is above 1, whether it asks for convolutions.

    `is_norm` and `is_outer` (before and behind all blocks) are layers that presets of lycoris.kohya alone reach; `alias` is another name of theirs.
    """

    name: str
    block: int | None
    large_conv: bool
    needs_conv: bool
    is_norm: bool = False
    is_outer: bool = False
    alias: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it belongs to a text encoder."""
        return self.block is None


@dataclass(frozen=True, slots=True)
class LayerRules:
    """The options about layers, read once: `rank_and_alpha` answers for one."""

    network: Network
    arguments: AdapterArgs
    ranks: BlockRanks
    included: tuple[Callable[[str], bool], ...]
    excluded: tuple[Callable[[str], bool], ...]
    ranks_by_name: tuple[tuple[Callable[[str], bool], float], ...]

    @classmethod
    def of(cls, config: Config, layout: BlockLayout) -> LayerRules:
        """The rules of a config.

        Raises:
            ConfigError: a list by block or by name is malformed.
        """
        arguments = config[AdapterArgs]
        return cls(
            config[Network],
            arguments,
            block_ranks(config[Network], config[LoRAArgs], layout),
            _patterns("include_patterns", arguments.include_patterns),
            _patterns("exclude_patterns", arguments.exclude_patterns),
            by_name("network_reg_dims", arguments.network_reg_dims),
        )

    def rank_and_alpha(self, layer: Layer) -> tuple[int, float]:
        """Rank (0: no adapter) and alpha of one layer. For networks.oft the rank is the number of blocks."""
        rank, alpha = self._turned(layer) if self.network.network_module == OFT_MODULE else self._by_block(layer)
        if not rank or not self._is_chosen(layer.name):
            return 0, 0.0
        given = next((value for matches, value in self.ranks_by_name if matches(layer.name)), None)
        return (rank if given is None else int(given)), alpha

    def _is_chosen(self, name: str) -> bool:
        return any(matches(name) for matches in self.included) or not any(matches(name) for matches in self.excluded)

    def _turned(self, layer: Layer) -> tuple[int, float]:
        arguments = self.arguments
        if layer.needs_conv:
            wanted = arguments.enable_conv
        else:
            wanted = layer.block is not None and (arguments.enable_all_linear or bool(_TURNED.search(layer.name)))
        return (self.network.network_dim or DEFAULT_RANK if wanted else 0), self.network.network_alpha

    def _by_block(self, layer: Layer) -> tuple[int, float]:
        ranks, network = self.ranks, self.network
        if layer.needs_conv and ranks.conv_ranks is None:
            return 0, 0.0
        if layer.block is None:
            return (DEFAULT_RANK if network.network_dim is None else network.network_dim), network.network_alpha
        if layer.large_conv:
            return (ranks.conv_ranks or ranks.ranks)[layer.block], ranks.conv_alphas[layer.block]
        return ranks.ranks[layer.block], ranks.alphas[layer.block]


def unmatched(arguments: AdapterArgs, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, pattern) of each pattern that fits none of the names. Raises ConfigError for a malformed list."""
    for field in ("include_patterns", "exclude_patterns", "network_reg_dims", "network_reg_lrs"):
        text = getattr(arguments, field)
        items = [item.rpartition("=")[0] for item in _items(text)] if field.startswith("network_reg") else _items(text)
        for item in items:
            if item and not any(map(_test(field, item), names)):
                yield field, item


def by_name(field: str, text: str | None) -> tuple[tuple[Callable[[str], bool], float], ...]:
    """ "pattern=number,pattern=number" as tests of names and numbers, in order.

    Raises:
        ConfigError: an item has no number of 0 or more.
    """
    found = []
    for item in _items(text):
        pattern, equals, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not equals or not pattern or value < 0:
            raise ConfigError(field, f"{item!r} is not of the form pattern=number.", fix="Write for example *attn2*=16.")
        found.append((_test(field, pattern), value))
    return tuple(found)


def _patterns(field: str, text: str | None) -> tuple[Callable[[str], bool], ...]:
    return tuple(_test(field, item) for item in _items(text))


def _items(text: str | None) -> list[str]:
    """Items of a list that is separated by commas outside brackets, also as kohya writes it: ['a', 'b']."""
    inner = (text or "").strip()
    if inner.startswith("[") and inner.endswith("]") and inner[1:2] in ("'", '"', "]"):
        inner = inner[1:-1]
    items = re.split(r",(?![^(\[{]*[)\]}])", inner)
    return [item.strip().strip("'\"") for item in items if item.strip()]


def _test(field: str, pattern: str) -> Callable[[str], bool]:
    """A pattern with * or ? and nothing else that is special must match a whole name; anything else is a regular expression, found anywhere."""
    if re.search(r"[*?]", pattern) and not _ONLY_IN_REGEX.search(pattern):
        pattern = fnmatch.translate(pattern)
    try:
        found = re.compile(pattern)
    except re.error as reason:
        raise ConfigError(field, f"{pattern!r} is no pattern: {reason}.", fix="Write for example *attn1* or attn[12].") from reason
    return lambda name: found.search(name) is not None
