"""python -m wildsr.cli"""

from wildsr.cli import main

main()
