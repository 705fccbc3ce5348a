"""LaTeX tables: marks, escaped characters, and the number of columns."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from a2f.evaluation.differences import compare
from a2f.evaluation.latex import as_latex, comparisons_as_latex, escaped
from a2f.evaluation.published import table_6
from a2f.evaluation.score import About, SetScore
from a2f.evaluation.tables import columns_of, table_rows

METRICS = ("psnr_y", "ssim_y", "lpips")


def score(
    model: str,
    values: tuple[float, float, float],
    *,
    data: str = "Set5",
    parameters: int | None = None,
    pictures: int = 1,
):
    images = {f"i{n}": dict(zip(METRICS, values, strict=True)) for n in range(pictures)}
    return SetScore(model=model, data=data, scale=4, images=images, about=About(parameters=parameters))


SCORES = [
    score("my_net", (32.014, 0.9, 0.2)),
    score("50% & more", (32.006, 0.95, 0.15)),
    score("third", (31.9, 0.91, 0.3)),
]


def latex(scores: list[SetScore], *, marks="colour", shown="none", metrics=METRICS) -> str:
    rows = table_rows(scores, metrics, shown=shown)
    return as_latex(rows, columns_of(scores), metrics, "note_1\n\nline", marks=marks, grouped=shown == "all")


def test_ranks_use_the_printed_digits() -> None:
    lines = latex(SCORES).splitlines()
    assert lines[0] == "% note_1"
    assert "% Scale: x4. Packages: booktabs and xcolor." in lines
    assert r"my\_net & - & - & \best{32.01} & 0.9000 & \second{0.2000} \\" in lines
    assert r"50\% \& more & - & - & \best{32.01} & \best{0.9500} & \best{0.1500} \\" in lines  # 32.01 as well
    assert r"third & - & - & \second{31.90} & \second{0.9100} & 0.3000 \\" in lines
    assert r"\providecommand{\best}[1]{\textcolor{red}{#1}}" in lines
    assert r"\providecommand{\second}[1]{\underline{#1}}" in latex(SCORES, marks="bold")
    assert r"\best" not in latex(SCORES, marks="none")
    assert r"\best" not in latex(SCORES[:1]).split("begin{tabular}")[1]  # the best of one


def test_each_line_has_all_columns() -> None:
    scores = [*SCORES, *(score(s.model, (30, 0.8, 0.1), data="B 100_x") for s in SCORES)]
    text = latex(scores)
    (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert len(columns) == 3 + 2 * len(METRICS)
    for line in text.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
    assert r"\cmidrule(lr){4-6} \cmidrule(lr){7-9}" in text
    assert r"B 100\_x" in text


def test_groups_match_the_paper() -> None:
    scores = [
        score("mine", (32.2, 0.8, 0.2), parameters=319_672, pictures=5),
        score("folder", (32, 0.8, 0.2), pictures=5),
    ]
    parts = latex(scores, shown="all", metrics=("psnr_y",)).split(r"\textit{")[1:]
    assert [part.partition("}")[0] for part in parts] == [
        "fewer than 1000K parameters", "1000K to 2000K parameters", "2000K to 10000K parameters", "size not known",
    ]  # fmt: skip
    assert r"mine & 320 & - & \best{32.20} \\" in parts[0]
    assert r"A\textsuperscript{2}F-SD (paper) & 320 & 18.2 & \second{32.06} \\" in parts[0]
    assert sum(part.count("(paper)") for part in parts) == sum(row.scale == 4 for row in table_6())
    assert "folder" in parts[3]


def test_comments_name_what_is_counted() -> None:
    alone, with_paper = latex(SCORES), latex(SCORES, shown="all")
    for text in (alone, with_paper):
        assert "\n% Params: with biases" in text
        assert "\n% Multi-Adds: for 1280x720 output, counted as for A2F" in text
    assert "% Rows (paper): both as printed" in with_paper
    assert "% Rows (paper)" not in alone


def test_multi_adds_of_the_paper_are_as_printed() -> None:
    text = latex([score("mine", (32.2, 0.8, 0.2), pictures=5)], shown="all", metrics=("psnr_y",))
    found = {
        line.partition(" (paper) & ")[0]: line.split(" & ")[2] for line in text.splitlines() if "(paper) &" in line
    }
    assert [found[name] for name in ("FSRCNN", "DRRN", "AWSRN-M", "MSRN")] == ["4.6", "6797", "72", "349.8"]


def test_no_ranks_between_sets_of_different_pictures() -> None:
    one = [score("mine", (32.2, 0.8, 0.2)), score("other", (31.0, 0.7, 0.3)), score("sd", (32.06, 0.8, 0.2))]
    text = latex(one, shown="all", metrics=("psnr_y",))  # a Set5 of one picture
    assert all(r"\best" not in line and r"\second" not in line for line in text.splitlines() if "(paper)" in line)
    text = latex(one, shown="own", metrics=("psnr_y",))
    assert r"mine & - & - & \best{32.20} \\" in text
    assert r"sd & - & - & \second{32.06} \\" in text
    assert r"A\textsuperscript{2}F-SD (paper) & 320 & 18.2 & 32.06 \\" in text


def test_differences() -> None:
    text = comparisons_as_latex(compare(SCORES, METRICS))
    assert text.count(r"\\") == 1 + 3 * len(METRICS)
    assert r"my\_net & 50\% \& more & Set5 & PSNR & 1 & $+0.008$ & none & no clear difference & 1:0" in text
    assert r"$-0.0500$ (i0)" in text


def test_special_characters_are_escaped() -> None:
    assert escaped("a_b{c}\\~^#$A²F<|>") == (
        r"a\_b\{c\}\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$A\textsuperscript{2}F"
        r"\textless{}\textbar{}\textgreater{}"
    )


@pytest.mark.integration
def test_table_compiles_with_latex(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    body = latex(SCORES, shown="all") + "\n\n" + comparisons_as_latex(compare(SCORES, METRICS))
    head = "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs,xcolor}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + body + "\n\\end{document}\n", encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
