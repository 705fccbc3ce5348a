"""Generated parts of pages."""

from pathlib import Path

from benchmarks.markdown import WIDTH, fill, table


def test_prose_is_wrapped_and_tables_are_not(tmp_path: Path) -> None:
    words = " ".join(f"word-{number}" for number in range(60))
    rows = table([["head"], [words]])
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- part -->\nold\n<!-- /part -->\nafter\n")
    fill(page, "part", f"{rows}\n\n{words}\n\n- {words}\n")
    text = page.read_text()
    assert text.startswith(f"before\n<!-- part -->\n{rows}\n\nword-0 ")
    assert text.endswith("\n<!-- /part -->\nafter\n")
    prose, item = text.partition(rows)[2].partition("<!--")[0].strip().split("\n\n")
    assert " ".join(prose.splitlines()) == words
    assert "- " + " ".join(line.removeprefix("  ") for line in item.splitlines()).removeprefix("- ") == f"- {words}"
    assert all(line.startswith("  ") for line in item.splitlines()[1:])
    assert max(len(line) for line in [*prose.splitlines(), *item.splitlines()]) <= WIDTH
