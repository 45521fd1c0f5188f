# ruff: noqa: RUF001 - quotation marks and dashes that look like ASCII are its subject

from pathlib import Path

import pytest

from models.contract import DataError
from models.exports.encodings import decode

PATH = Path("pump.csv")
NUMBERS = "".join(f"2026/03/{1 + i // 24:02} {i % 24:02}:00,{i}\n" for i in range(600))

WESTERN = [
    "Zeit;Größe;Öl;Drücke\n",
    "heure;débit;température;pression d'entrée\n",
    "heure;température d’entrée;créée\n",
    "time;temp °C;µm/s;m³\n",
    "time;Temp °C\n",
    "time;flow\n2026-03-01;é\n",
    "time;Ø pipe;level\n",
    "time;Ø;level\n",
    "time;flow m³/h\n",
    "time;W/m²·K;±0.5;½ load\n",
    "hora;año;presión;señal nº\n",
    "tid;flöde;tryck på sugsida;lägesgivare;körläge\n",
    "tid;trykk ås;nivå;kjøling;måling\n",
    "aika;säiliö;PÄÄLLÄ;höyry\n",
    "time;“quoted” flow;‘temp’\n",
    "time;“bearing temp one”;level\n",
    "time;„Ölstand“;»Größe«\n",
    "time;Šablona;Žárovka;cœur\n",
    "time;cost €;a – b;5 ‰\n",
    "time;tempo di avviò;città;più\n",
    "hora;vazão;pressão;rotação;ÓLEO;AÇÃO\n",
]
JAPANESE = [
    "日時,圧力,温度\n",
    "ｼﾞｺｸ,ｱﾂﾘｮｸ,ｵﾝﾄﾞ\n",
    "ﾀｲﾑ,ﾘｭｳﾘｮｳ,ｵﾝﾄﾞ\n",
    "ﾀｲﾑ,flow,temp\n",
    "time,flow,ﾎﾟﾝﾌﾟ\n",
    "time,A相電流,No.1ﾎﾟﾝﾌﾟ温度(℃)\n",
    "time,濾過圧,攪拌機\n",
    "time,flow,弁\n1,2,開\n",
    "time,flow,valve\n1,2,開\n",
    "time,flow,炉\n",
    "time,flow,ｴﾗｰ\n",
    "time,㎏/h,㎜,①\n",
    "time,flow\n" + NUMBERS.replace(" ", "(日) "),
    "time,flow\n" + "".join(f"2026年3月{1 + i}日 10時20分30秒,1\n" for i in range(28)),
    "time,flow,state\n" + NUMBERS.replace("\n", ",入\n") + "2026/04/01 00:00,1,切\n",
    "time,flow,state\n" + NUMBERS.replace("\n", ",良\n") + "2026/04/01 00:00,1,否\n",
    "time,flow,state\n" + NUMBERS.replace("\n", ",入\n"),
    "time,flow,state\n" + NUMBERS.replace("\n", ",停\n"),
]


@pytest.mark.parametrize("text", WESTERN)
def test_western_text_is_not_taken_for_japanese(text: str) -> None:
    assert decode(text.encode("cp1252"), PATH) == ("cp1252", True, text)
    long = text + NUMBERS
    assert decode(long.encode("cp1252"), PATH) == ("cp1252", True, long)


@pytest.mark.parametrize("text", JAPANESE)
def test_japanese_text_is_found_by_any_of_its_words(text: str) -> None:
    assert decode(text.encode("cp932"), PATH) == ("cp932", True, text)


@pytest.mark.parametrize(
    "text", ["日時,圧力,温度\n", "日時;入口圧力;モータ電流\n", "time,flow\n2026年3月1日 10時20分,1\n"]
)
def test_euc_is_found_where_the_text_cannot_be_cp932(text: str) -> None:
    assert decode(text.encode("euc_jp"), PATH) == ("euc_jp", True, text)


def test_a_few_words_of_a_header_stand_against_a_unit_in_every_row() -> None:
    text = "日時,圧力\n" + NUMBERS.replace("\n", "kA入\n")
    assert decode(text.encode("cp932"), PATH)[0] == "cp932"
    text = "Zeit,Größe\n" + NUMBERS.replace("\n", " ÄÖ\n")
    assert decode(text.encode("cp1252"), PATH)[0] == "cp1252"


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_found_with_and_without_its_mark(code: str) -> None:
    name, guessed, text = decode("time,圧力\n".encode(code), PATH)
    assert (name, guessed, text) == (code, False, "time,圧力\n")


def test_utf_8_is_left_as_it_is() -> None:
    assert decode("時刻".encode(), PATH) == ("utf-8", False, None)
    assert decode("\ufefftime".encode(), PATH) == ("utf-8", False, None)


def test_one_bad_byte_at_the_end_is_found() -> None:
    with pytest.raises(DataError, match="line 3: byte 0xff is not utf-8 text"):
        decode("時刻\na\n".encode() + b"\xff", PATH, "utf-8")


def test_damaged_utf_8_is_refused_with_its_line_and_not_read_as_something_else() -> None:
    text = "日時,流量\n2026年3月1日,1\n".encode()
    for damaged in (text[:-4], text.replace("流".encode(), "流".encode()[:2])):
        with pytest.raises(DataError, match=r"pump\.csv: line [12]: byte 0x\w+ is not utf-8 text"):
            decode(damaged, PATH)
