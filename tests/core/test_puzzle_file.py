"""The CSV reader takes good files whole and names line and field of the first thing wrong in any other."""

import io
import subprocess
import sys

import pytest

from laser_core.puzzle_file import PuzzleFileError, PuzzleRow, is_maze, parse_csv, scan_csv

HEADER = "source,q,a,rating\n"
QUESTION, ANSWER = "1.3.3.1.2143.321", "1234341221434321"
ROW = f"mine,{QUESTION},{ANSWER},7\n"
NINE_Q = "98.7..6..5...9......7..6...4..3...2...8.5.9.......7..4.2...1.3...9.7.8..........1"
NINE_A = "983724615561893472247516398456389127718452963392167584825641739139275846674938251"
SIX_A = "123456456123214365365214531642642531"


def parse(text: str | bytes):
    return parse_csv(io.BytesIO(text.encode() if isinstance(text, str) else text))


@pytest.mark.parametrize(("size", "q", "a"), [(4, QUESTION, ANSWER), (6, "1" + "." * 35, SIX_A), (9, NINE_Q, NINE_A)])
def test_good_files_of_each_size(size: int, q: str, a: str) -> None:
    assert parse(f"{HEADER}forum,{q},{a},3.5\n") == (size, [PuzzleRow("forum", q, a, 3.5)])


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROW.strip(),  # no end of line
        (HEADER + ROW).replace("\n", "\r\n"),
        "\ufeff" + HEADER + ROW,
        HEADER + "\n" + ROW + "\n\n",
        f"rating,a,q,source\n7,{ANSWER},{QUESTION},mine\n",
        HEADER + f'"mine",{QUESTION},"{ANSWER}",7\n',
        HEADER + ROW.replace(".", "0"),
    ],
)
def test_other_ways_to_write_the_same(text: str) -> None:
    assert parse(text).rows == [PuzzleRow("mine", QUESTION, ANSWER, 7.0)]


def test_a_quoted_source_may_hold_a_comma_and_the_rating_may_be_empty() -> None:
    assert parse(HEADER + f'"a, b",{QUESTION},{ANSWER},\n').rows[0] == PuzzleRow("a, b", QUESTION, ANSWER, 0.0)


MAZE_Q = "S  #" + "## #" + "#   " + "# #G"
MAZE_A = "Soo#" + "##o#" + "# oo" + "# #G"
MAZE = f"official,{MAZE_Q},{MAZE_A},12\n"


def test_mazes_are_told_by_their_characters() -> None:
    assert parse(HEADER + MAZE) == (4, [PuzzleRow("official", MAZE_Q, MAZE_A, 12.0)])
    assert is_maze(MAZE_Q)
    assert not is_maze(QUESTION)


def test_large_mazes_fit_in_a_row() -> None:
    question = "S" + " " * 898 + "G"
    answer = "S" + "o" * 29 + (" " * 29 + "o") * 28 + " " * 29 + "G"
    assert parse(f"{HEADER}x,{question},{answer},1\n").size == 30


def test_columns_may_be_named_in_full() -> None:
    assert parse("source,question,answer,rating\n" + ROW) == parse(HEADER + ROW)


BROKEN = {
    "empty": ("", 1, "", "empty"),
    "blank lines only": ("\n\n", 1, "", "empty"),
    "header only": (HEADER, 1, "", "no puzzles"),
    "missing column": ("source,q,a\n", 1, "rating", "missing column"),
    "no header": (ROW, 1, "source", "missing column"),
    "extra column": ("source,q,a,rating,x\n", 1, "x", "unknown column"),
    "column twice": ("source,q,a,rating,q\n", 1, "q", "given twice"),
    "too few fields": (HEADER + f"mine,{QUESTION},{ANSWER}\n", 2, "", "expected 4 columns"),
    "wrong length": (HEADER + ROW + ROW.replace(QUESTION, QUESTION[:-1]), 3, "q", "expected 16 characters"),
    "unknown length": (HEADER + f"mine,{NINE_Q[:80]},{NINE_A},1\n", 2, "q", "expected 81, 36 or 16 characters, got 80"),
    "short answer": (HEADER + ROW.replace(ANSWER, ANSWER[1:]), 2, "a", "expected 16 characters"),
    "other size": (HEADER + ROW + f"x,{NINE_Q},{NINE_A},1\n", 3, "q", "expected 16 characters like the rows above"),
    "letter": (HEADER + ROW.replace("1.3.3", "1.x.3"), 2, "q", "character 3 is 'x'"),
    "digit out of range": (HEADER + ROW.replace("1.3.3", "5.3.3"), 2, "q", "character 1 is '5'; expected 1–4"),
    "other digits": (HEADER + ROW.replace("1.3.3", "١.3.3"), 2, "q", "character 1"),
    "blank in the answer": (HEADER + ROW.replace(ANSWER, "." + ANSWER[1:]), 2, "a", "no blanks"),
    "broken row": (HEADER + ROW.replace(ANSWER, "1134341221434321"), 2, "a", "row 1 doesn't hold"),
    "broken column": (HEADER + ROW.replace(ANSWER, "1234341212344321"), 2, "a", "column 1 doesn't hold"),
    "broken box": (HEADER + ROW.replace(ANSWER, "1234234134124123"), 2, "a", "box 1 doesn't hold"),
    "against a clue": (
        HEADER + ROW.replace("1.3.3", "2.3.3"),
        2,
        "a",
        "contradicts the clue 2 of q at character 1 with 1",
    ),
    "duplicate": (
        HEADER + ROW + ROW.replace("mine", "other").replace(".", "0"),
        3,
        "q",
        "duplicate of the puzzle in line 2",
    ),
    "rating": (HEADER + ROW.replace(",7", ",hard"), 2, "rating", "expected a number or nothing, got 'hard'"),
    "rating nan": (HEADER + ROW.replace(",7", ",nan"), 2, "rating", "expected a number"),
    "control characters": (HEADER + ROW.replace("mine", "\x1b[31m"), 2, "source", "printable"),
    "long source": (HEADER + ROW.replace("mine", "m" * 201), 2, "source", "at most 200"),
    "not UTF-8": (HEADER.encode() + b"caf\xe9," + ROW.encode(), 2, "", r"not UTF-8 text \(byte 4"),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), 1, "", "NUL byte"),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0", 1, "", "not UTF-8"),
    "NUL": (HEADER + ROW.replace("mine", "mi\0ne"), 2, "", "NUL byte"),
    "row too long": (HEADER + "x" * 5000, 2, "", "longer than 4000 bytes"),
    "maze not square": (
        HEADER + f"x,{MAZE_Q}#,{MAZE_A}#,1\n",
        2,
        "q",
        "expected n² characters of a maze, n from 2 to 40, got 17",
    ),
    "maze too large": (HEADER + f"x,{'#' * 1681},{'#' * 1681},1\n", 2, "q", "n from 2 to 40"),
    "Sudoku among mazes": (HEADER + MAZE + ROW, 3, "q", "character 1 is '1'; expected one of '#'"),
    "marked question": (HEADER + MAZE.replace("S  #", "S o#"), 2, "q", "character 3 is 'o'"),
    "no goal": (HEADER + MAZE.replace("G", " "), 2, "q", "expected one G, got 0"),
    "two starts": (HEADER + MAZE.replace("# ", "#S"), 2, "q", "expected one S, got 4"),
    "wall gone": (
        HEADER + MAZE.replace("Soo#", "Sooo"),
        2,
        "a",
        "expected only spaces of q changed to o, character 4 is 'o' where q has '#'",
    ),
    "broken path": (HEADER + MAZE.replace("##o#", "## #"), 2, "a", "aren't one path"),
    "more than a path": (HEADER + MAZE.replace("# oo", "#ooo"), 2, "a", "aren't one path"),
    "around the edge": (
        HEADER + "x,  #S" + "G## " + "####" * 2 + ",  #S" + "G## " + "####" * 2 + ",1\n",
        2,
        "a",
        "aren't one path",
    ),
    "open quote": (HEADER + '"' + ROW, 2, "", "broken quoting"),
}


@pytest.mark.parametrize(("text", "line", "field", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_name_line_and_field(text: str | bytes, line: int, field: str, message: str) -> None:
    with pytest.raises(PuzzleFileError, match=message) as caught:
        parse(text)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert str(caught.value).startswith(f"line {line}")


def test_rows_are_streamed_not_held() -> None:
    """An endless file of one line is refused after its first kilobyte; rows come before the end is read."""

    class Endless(io.RawIOBase):
        read_bytes = 0

        def readline(self, size: int | None = -1) -> bytes:
            assert size
            assert size > 0
            self.read_bytes += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(PuzzleFileError, match="longer than"):
        parse_csv(stream)  # type: ignore[arg-type]
    assert stream.read_bytes < 5000
    rows = scan_csv(io.BytesIO((HEADER + ROW + "broken").encode()))
    assert next(rows).source == "mine"


def test_the_reader_loads_neither_torch_nor_numpy() -> None:
    program = "import sys, laser_core.puzzle_file; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
