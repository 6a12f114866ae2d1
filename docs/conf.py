"""Configuration of the documentation site: `just docs` builds it, and any warning fails the build."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "colorbench"
author = "The colorbench developers"
project_copyright = author
release = version_of("colorbench")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "plain_docstrings",
    "sphinx.ext.viewcode",
    "repository_pages",
    "generated_reference",
    "accessible_pages",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"colorbench {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
# Quotes and ellipses only: options such as --param keep their two hyphens.
smartquotes_action = "qe"
# Indented blocks of the guides are commands; Python examples in docstrings are recognized by their `>>>`.
highlight_language = "sh"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
# Signatures carry the types by their short names: full paths of tensors and arrays would hide the signature.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
