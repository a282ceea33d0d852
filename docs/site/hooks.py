"""Hooks of the documentation site: pages of the API reference, the README as first page, links into the source tree."""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dcdp_jax"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README and a page for each package and each module at the top, which lists their public modules."""
    readme = re.sub(r"\]\(docs/", "](", (ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=readme))
    pages = []
    for path in sorted(PACKAGE.iterdir()):
        if path.name == "__init__.py":
            continue
        modules = sorted(path.rglob("*.py")) if path.is_dir() and not path.is_symlink() else [path]
        content = "".join(f"::: {dotted(module)}\n\n" for module in modules if documented(module))
        if content:
            uri = f"reference/{path.stem}.md"
            files.append(File.generated(config, uri, content=f"# dcdp_jax.{path.stem}\n\n{content}"))
            pages.append({path.stem: uri})
    config.nav.append({"API reference": pages})
    return files


def dotted(module: Path) -> str:
    """Returns the name by which a module is imported."""
    parts = module.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def documented(module: Path) -> bool:
    """Returns whether a file is a module with a docstring."""
    return module.suffix == ".py" and ast.get_docstring(ast.parse(module.read_text())) is not None


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the source tree, which are no part of the site, into their paths.

    Raises:
      PluginError: there is no such file.
    """
    folder = ROOT if page.file.src_uri == "index.md" else ROOT / "docs"

    def replace(link: re.Match) -> str:
        image, text, target, _ = link.groups()
        if image or "://" in target or files.get_file_from_path(target):
            return link[0]
        path = (folder / target).resolve()
        if not path.exists():
            raise PluginError(f"{page.file.src_uri}: {target} does not exist")
        return (
            f"{text} (`{path.relative_to(ROOT)}`)"
            if text.strip("`") != path.relative_to(ROOT).as_posix()
            else f"`{text}`"
        )

    return LINK.sub(replace, markdown)
