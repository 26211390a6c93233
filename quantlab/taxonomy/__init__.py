"""What a method is: its place among others, decided by what its optimizer does."""

from quantlab.taxonomy.properties import LevelsFrom, Properties, properties_of
from quantlab.taxonomy.shifts import Trend

__all__ = ["LevelsFrom", "Properties", "Trend", "properties_of"]
