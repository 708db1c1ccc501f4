"""Run a book's chapters, two at a time, into jupyter-cache: `python -m tools.execute CONFIG CACHE PAGE.md ...`.

Jupyter Book runs one chapter after another; but it takes from the cache what it finds there.
"""

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig

AT_A_TIME = 2


def notebooks(pages: list[Path], config: dict) -> dict:
    """Return the pages that have cells, each with its notebook as myst-nb will read it; those that train most first."""
    markdown = MdParserConfig(enable_extensions=set(config["parse"]["myst_enable_extensions"]))
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    return {
        page: read_myst_markdown_notebook(texts[page], markdown, add_source_map=True, path=page)
        for page in sorted(pages, key=lambda page: -texts[page].count("fit(") * ("mnist(" in texts[page]))
        if is_myst_markdown_notebook(texts[page])
    }


def is_cached(cache, notebook) -> bool:
    try:
        return bool(cache.match_cache_notebook(notebook))
    except KeyError:
        return False


def run(notebook, timeout: int):
    with TemporaryDirectory() as folder:
        return single_nb_execution(notebook, cwd=folder, timeout=timeout, allow_errors=False)


def main(config_file: str, cache_folder: str, *pages: str) -> int:
    config = yaml.safe_load(Path(config_file).read_text(encoding="utf-8"))
    cache, failed = get_cache(cache_folder), 0
    todo = {page: nb for page, nb in notebooks(list(map(Path, pages)), config).items() if not is_cached(cache, nb)}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = {pool.submit(run, notebook, config["execute"]["timeout"]): page for page, notebook in todo.items()}
        for done in as_completed(runs):
            page, result = runs[done], done.result()
            if result.err is None:
                print(f"{page.name} ran in {result.time:.0f} s.", flush=True)
                bundle = CacheBundleIn(result.nb, str(page), data={"execution_seconds": result.time})
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            else:
                print(f"A cell of {page} failed:\n{result.err}", file=sys.stderr, flush=True)
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
