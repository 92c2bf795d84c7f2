import pytest
import torch

from lamina.train.products import exact, quick_products


def setting():
    return torch.get_float32_matmul_precision()


def test_products_are_accurate_to_float32():
    torch.manual_seed(0)
    for rows, terms, columns in ((64, 784, 500), (10, 30, 7), (300, 2000, 300)):
        a, b = torch.randn(rows, terms), torch.randn(terms, columns)
        with quick_products("cpu"):
            error = (a @ b).double() - a.double() @ b.double()
        assert float(error.abs().max()) < 2e-5 * terms**0.5


def test_the_setting_is_left_as_it_was():
    assert setting() == "highest"
    with quick_products("cpu"):
        assert setting() == ("medium" if exact() else "highest")
    with pytest.raises(KeyError), quick_products("cpu"):
        raise KeyError
    assert setting() == "highest"


def test_what_the_user_has_set_stays():
    torch.set_float32_matmul_precision("high")
    try:
        with quick_products("cpu"):
            assert setting() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_only_the_processor_is_concerned():
    with quick_products("cuda"):
        assert setting() == "highest"
