"""wildsr's random degradation beside its slow twin, statistic by statistic; __main__.py says how."""

from degradation_statistics.comparisons import LIMIT as LIMIT
from degradation_statistics.comparisons import TARGET_LIMIT as TARGET_LIMIT
from degradation_statistics.comparisons import Canvases as Canvases
from degradation_statistics.comparisons import compare_directly as compare_directly
from degradation_statistics.comparisons import compare_draws as compare_draws
from degradation_statistics.comparisons import compare_operators as compare_operators
from degradation_statistics.comparisons import compare_whole as compare_whole
from degradation_statistics.comparisons import cut as cut
from degradation_statistics.comparisons import noise_alone as noise_alone
from degradation_statistics.comparisons import silenced as silenced
from degradation_statistics.comparisons import without_noise as without_noise
from degradation_statistics.draws import drawn_by_us as drawn_by_us
from degradation_statistics.planted import DRAW_BIASES as DRAW_BIASES
from degradation_statistics.planted import NOISE_BIASES as NOISE_BIASES
from degradation_statistics.planted import OPERATOR_BIASES as OPERATOR_BIASES
from degradation_statistics.scores import Score as Score
