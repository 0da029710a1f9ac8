"""The layout generator is right where others have recorded what real files hold."""

import math

from tests.tiny_models import SD15, SD15_TINY, golden_keys, single_file_shapes


def test_the_tiny_layout_has_exactly_the_recorded_keys_and_shapes():
    assert single_file_shapes(SD15_TINY) == golden_keys()


def test_the_full_layout_has_the_published_number_of_weights():
    shapes = single_file_shapes(SD15)
    assert (len(shapes), round(sum(math.prod(shape) for shape in shapes.values()) / 1e6)) == (1130, 1066)
