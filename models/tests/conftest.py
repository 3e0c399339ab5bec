import sys
from pathlib import Path

# The package is run from the checkout, never installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
