"""python -m wildsr"""

from wildsr.cli import main

main()
