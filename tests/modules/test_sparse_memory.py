"""The sparse memory by the dense read, by a plain search, by a list in order of use, and by copies."""

import pytest
import torch

from lamina.modules.addressing import read, similarity
from lamina.modules.sparse_memory import SparseMemory, directions


def filled(slots=64, size=12, nearest=4, tables=0, seed=0):
    torch.manual_seed(seed)
    memory = SparseMemory(slots, size, nearest, tables)
    memory.write(torch.arange(slots), torch.randn(slots, size))
    return memory


def test_all_slots_are_the_dense_read():
    sparse = filled(nearest=64)
    keys, dense = torch.randn(5, 12), sparse.memory.t()[None]
    found = sparse.read(keys, strength=3.0)
    weights = (3 * similarity(dense, keys[None])).softmax(2)
    torch.testing.assert_close(found.values, read(dense, weights)[0])
    assert torch.equal(found.places.sort(1).values, torch.arange(64).expand(5, -1))


def test_nearest_by_a_plain_search():
    sparse, keys = filled(), torch.randn(20, 12)
    cosines, places = similarity(sparse.memory.t()[None], keys[None])[0].topk(4)
    found = sparse.read(keys, strength=2.0)
    assert torch.equal(found.places, places)
    torch.testing.assert_close(found.weights, (2 * cosines).softmax(1))
    torch.testing.assert_close(found.values, torch.einsum("kn,kns->ks", found.weights, sparse.memory[places]))


@pytest.mark.parametrize("tables", [0, 4])
def test_empty_slots_and_keys_give_no_nan(tables):
    sparse = SparseMemory(16, 5, 3, tables)
    for keys in (torch.zeros(2, 5), torch.randn(2, 5)):
        found = sparse.read(keys)
        assert not found.values.any()
        assert found.weights.isfinite().all()


def test_index_finds_what_the_angle_says():
    """4,096 slots, 512 keys at cosine 0.95 of one: found by 16 tables of 8 bits with probability 1 - 1.4e-4 each."""
    sparse = filled(4096, 24, 1, tables=16)
    chosen = torch.randperm(4096)[:512]
    target = torch.nn.functional.normalize(sparse.memory[chosen])
    noise = torch.randn(512, 24)
    noise = torch.nn.functional.normalize(noise - (noise * target).sum(1, keepdim=True) * target)
    found = sparse.read(0.95 * target + (1 - 0.95**2) ** 0.5 * noise)
    assert (found.places[:, 0] == chosen).float().mean() > 0.99
    assert sparse.looked < 512 * 4096 / 3


@pytest.mark.parametrize("bits", [1, 7, 12, 30])
def test_directions_of_a_table_are_orthogonal_as_many_as_there_can_be(bits):
    torch.manual_seed(0)
    found = directions(3, bits, 12)
    assert found.shape == (3, bits, 12)
    for table in found:
        for part in table.split(12):
            torch.testing.assert_close(part @ part.t(), torch.eye(len(part)), atol=1e-5, rtol=0)
    assert directions(0, bits, 12).shape == (0, bits, 12)


def test_buckets_are_about_equally_full():
    """32,768 random vectors in 2,048 buckets of 16: of 3 tables none has one of 60; independent directions give 200."""
    sparse = filled(2**15, 12, tables=3)
    for where in sparse.where:
        assert where.bincount(minlength=2**11).max() < 60


def test_index_is_the_one_of_a_fresh_memory_after_many_writes():
    """Each bucket has the slots whose vector has its signs: after 300 random writes, some of them of zeros."""
    sparse = filled(64, 12, tables=3)
    for _ in range(300):
        row = torch.randn(1, 12) * float(torch.rand(()) > 0.2)
        sparse.write(torch.randint(64, (1,)), row)
    signs = torch.einsum("tbs,ns->tnb", sparse.directions, sparse.memory) > 0
    codes = (signs * 2 ** torch.arange(signs.shape[2] - 1, -1, -1)).sum(2)
    for table in range(3):
        for bucket in range(len(sparse.first[table])):
            slots, slot, before = set(), int(sparse.first[table, bucket]), -1
            while slot >= 0:
                assert int(sparse.behind[table, slot]) == before
                slots.add(slot)
                slot, before = int(sparse.ahead[table, slot]), slot
            full = sparse.memory.any(1)
            assert slots == set(((codes[table] == bucket) & full).nonzero().squeeze(1).tolist())


def test_stores_where_it_was_used_least_recently():
    sparse, order = SparseMemory(6, 4, 2), list(range(6))
    torch.manual_seed(0)
    for _ in range(200):
        if torch.rand(()) < 0.5:
            slot = sparse.store(torch.randn(4))
            assert slot == order[0]
            order = [*order[1:], slot]
        else:
            for slot in sparse.read(torch.randn(1, 4)).places[0].flip(0).tolist():
                order = [*(s for s in order if s != slot), slot]


@pytest.mark.parametrize("tables", [0, 3])
def test_rolls_back_bit_for_bit(tables):
    sparse = filled(64, 12, tables=tables)
    before = {name: getattr(sparse, name).clone() for name in ("memory", "inverse", "where")}
    mark, found = sparse.mark(), []
    for _ in range(100):
        read = sparse.read(torch.randn(2, 12))
        sparse.add(read, torch.randn(12))
        sparse.store(torch.randn(12))
        found.append(sparse.memory.clone())
    assert not torch.equal(sparse.memory, before["memory"])
    sparse.roll_back(mark)
    for name, value in before.items():
        assert torch.equal(getattr(sparse, name), value), name
    assert not sparse.journal


def test_adding_is_the_dense_write():
    sparse = filled()
    before, read, value = sparse.memory.clone(), sparse.read(torch.randn(2, 12)), torch.randn(12)
    sparse.add(read, value)
    dense = torch.zeros(64)
    for places, weights in zip(read.places, read.weights, strict=True):
        dense[places] += weights
    torch.testing.assert_close(sparse.memory, before + dense[:, None] * value)


def test_keeps_a_value_for_ten_thousand_steps():
    """16,384 slots; a value is stored, then 10,000 others; its key, with noise, still finds it alone."""
    torch.manual_seed(0)
    sparse, value = SparseMemory(16_384, 16, 1, tables=16), torch.randn(16)
    slot = sparse.store(value)
    for other in torch.randn(10_000, 16):
        sparse.store(other)
    found = sparse.read(value[None] + 0.05 * torch.randn(1, 16))
    assert found.places.tolist() == [[slot]]
    torch.testing.assert_close(found.values[0], value)


def test_refuses_sizes():
    for wrong in ((0, 4, 1, 0), (4, 4, 5, 0), (4, 0, 1, 0), (4, 4, 1, -1)):
        with pytest.raises(ValueError, match="no memory"):
            SparseMemory(*wrong)


def test_refuses_keys_of_another_size():
    with pytest.raises(ValueError, match="keys of 5 numbers do not fit slots of 12"):
        filled().read(torch.randn(1, 5))
