"""Sentences in Portuguese: the same rules as the page of ComfyUI has."""

import pytest

from wattbench.report.translation import translator


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Board: display active (2 of 9 runs)", "Placa: um monitor está ativo (2 de 9 execuções)"),
        (
            "Energy: energy was not measured; the run failed",
            "Energia: a energia não foi medida; a execução falhou",
        ),
        ("12.5 ± 0.3", "12,5 ± 0,3"),
        ("0.65 (0.62 to 0.68)", "0,65 (0,62 a 0,68)"),
        (
            "The loaded file takes 1.5 % less energy per image than this one (1.4 to 1.6 %).",
            "O arquivo carregado gasta 1,5 % menos energia por imagem que este (1,4 a 1,6 %).",
        ),
        ("torch 2.11.0", "torch 2.11.0"),
        ("moth.v1.5.safetensors", "moth.v1.5.safetensors"),
        ("a sentence that nobody knows", "a sentence that nobody knows"),
    ],
)
def test_what_is_known_is_said_in_portuguese(text, expected):
    assert translator("pt-BR")(text) == expected


def test_english_stays_as_it_is():
    assert translator("en")("12.5 … x") == "12.5 … x"
