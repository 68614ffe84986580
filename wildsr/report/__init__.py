"""Rows to tables, and to one self-contained HTML page. Needs neither torch nor a model."""

from wildsr.report.pages import page as page
from wildsr.report.pages import write_page as write_page
from wildsr.report.tables import KEY as KEY
from wildsr.report.tables import read_rows as read_rows
from wildsr.report.tables import rows_file as rows_file
from wildsr.report.tables import summarize as summarize
from wildsr.report.text import gains_markdown as gains_markdown
from wildsr.report.text import table_latex as table_latex
from wildsr.report.text import table_markdown as table_markdown
