"""RFC 6962 by its published vectors, by a naive recomputation, and by what must not verify."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.journal import tree
from strongroom.journal.tree import Edge, Prover, Tile, leaf_hash
from tests.journal.support import naive_root

# Vectors of the certificate-transparency project (merkle_tree_test.cc).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def grown(leaves: list[bytes]) -> tuple[Edge, dict[Tile, bytes]]:
    edge = Edge(0, {})
    return edge, edge.append(leaves)


LEAVES = [sha256(b"%d" % n).digest() for n in range(1400)]
_, TILES = grown(LEAVES)


def test_empty_tree_is_the_hash_of_nothing() -> None:
    assert Edge(0, {}).root().hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_published_roots() -> None:
    edge = Edge(0, {})
    for data, root in zip(INPUTS, ROOTS, strict=True):
        edge.append([leaf_hash(data)])
        assert edge.root().hex() == root


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_published_paths(index: int, size: int) -> None:
    _, tiles = grown([leaf_hash(data) for data in INPUTS])
    proof = tree.inclusion_proof(index, size, tiles.__getitem__)
    assert [step.hex() for step in proof] == PATHS[index, size]
    root = bytes.fromhex(ROOTS[size - 1])
    assert tree.verify_inclusion(index, size, leaf_hash(INPUTS[index]), proof, root)


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency(old: int, new: int) -> None:
    _, tiles = grown([leaf_hash(data) for data in INPUTS])
    proof = tree.consistency_proof(old, new, tiles.__getitem__)
    assert [step.hex() for step in proof] == CONSISTENCY[old, new]
    roots = [bytes.fromhex(ROOTS[size - 1]) for size in (old, new)]
    assert tree.verify_consistency(old, new, roots[0], roots[1], proof)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_leaf_is_proven_and_no_flipped_bit_is(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    root = naive_root(LEAVES[:size])
    proof = tree.inclusion_proof(index, size, TILES.__getitem__)
    assert tree.verify_inclusion(index, size, LEAVES[index], proof, root)
    assert not tree.verify_inclusion(index, size, _flip(LEAVES[index], data), proof, root)
    assert not tree.verify_inclusion(index, size, LEAVES[index], proof, _flip(root, data))
    assert not tree.verify_inclusion(index, size, LEAVES[index], [*proof, root], root)
    assert tree.root_from_inclusion(size, size, LEAVES[index], proof) is None
    assert tree.root_from_inclusion(-1, size, LEAVES[index], proof) is None
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        broken = [*proof[:at], _flip(proof[at], data), *proof[at + 1 :]]
        assert not tree.verify_inclusion(index, size, LEAVES[index], broken, root)
        assert not tree.verify_inclusion(index, size, LEAVES[index], proof[:-1], root)
        assert not tree.verify_inclusion(index ^ 1, size, LEAVES[index], proof, root)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_growth_is_proven_and_no_other_history_is(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, len(LEAVES)))
    old = data.draw(st.integers(0, new))
    old_root, new_root = naive_root(LEAVES[:old]), naive_root(LEAVES[:new])
    proof = tree.consistency_proof(old, new, TILES.__getitem__)
    assert tree.verify_consistency(old, new, old_root, new_root, proof)
    if old == new or old == 0:
        assert not proof
        assert not tree.verify_consistency(old, new, old_root, new_root, [new_root])
        return
    assert not tree.verify_consistency(old, new, _flip(old_root, data), new_root, proof)
    assert not tree.verify_consistency(old, new, old_root, _flip(new_root, data), proof)
    assert not tree.verify_consistency(old, new, old_root, new_root, proof[:-1])
    assert not tree.verify_consistency(old, new, old_root, new_root, [*proof, new_root])
    at = data.draw(st.integers(0, len(proof) - 1))
    broken = [*proof[:at], _flip(proof[at], data), *proof[at + 1 :]]
    assert not tree.verify_consistency(old, new, old_root, new_root, broken)


def test_proof_of_a_subtree_is_no_proof_of_the_tree() -> None:
    """A proof that stops early leads to the root of a part, which must not pass for the whole."""
    four = naive_root(LEAVES[:4])
    path = tree.inclusion_proof(0, 8, TILES.__getitem__)[:-1]
    assert tree.verify_inclusion(0, 4, LEAVES[0], path, four)
    assert not tree.verify_inclusion(0, 8, LEAVES[0], path, four)
    growth = tree.consistency_proof(3, 8, TILES.__getitem__)[:-1]
    assert tree.verify_consistency(3, 4, naive_root(LEAVES[:3]), four, growth)
    assert not tree.verify_consistency(3, 8, naive_root(LEAVES[:3]), four, growth)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 1000])
def test_edge_grows_in_any_steps_to_the_naive_root(size: int) -> None:
    edge, tiles = Edge(0, {}), {}
    start = 0
    for step in (1, 2, 3, 100, 7, 256, 31, 600):
        tiles.update(edge.append(LEAVES[start : min(size, start + step)]))
        start = min(size, start + step)
        assert edge.root() == naive_root(LEAVES[:start])
        assert Edge(start, tiles).root() == edge.root(), "an edge rebuilt from tiles is the same"
    assert edge.size == start


def test_copy_grows_apart() -> None:
    edge, _ = grown(LEAVES[:300])
    root = edge.root()
    edge.copy().append(LEAVES[300:900])
    assert (edge.size, edge.root()) == (300, root)


def test_tiles_are_those_of_the_specification() -> None:
    """C2SP tlog-tiles: tile l/n holds MTH(D[(n*256+i)*256^l : (n*256+i+1)*256^l])."""
    size = len(LEAVES)
    for (level, index), hashes in TILES.items():
        span = 256**level
        for i in range(len(hashes) // 32):
            low = (index * 256 + i) * span
            assert hashes[i * 32 :][:32] == naive_root(LEAVES[low : low + span])
    widths = {tile: len(hashes) // 32 for tile, hashes in TILES.items()}
    assert widths == {**{(0, n): 256 for n in range(5)}, (0, 5): size - 1280, (1, 0): 5}


def test_tile_shapes_of_the_specifications_examples() -> None:
    assert tree.full_tiles(70_000) == [273, 1]
    assert tree.edge_tiles(70_000) == {(0, 273): 112, (1, 1): 17, (2, 0): 1}
    assert (tree.full_tiles(256), tree.edge_tiles(256)) == ([1], {(1, 0): 1})


def test_tiles_wider_than_the_tree_prove_older_trees() -> None:
    for size in (1, 300, 1279):
        prover = Prover(TILES.__getitem__)
        assert prover.root((0, size)) == naive_root(LEAVES[:size])
        wanted = tree.tiles_under([(0, size)])
        assert wanted <= TILES.keys()


def test_narrow_tiles_are_refused() -> None:
    cut = {tile: hashes[:-32] for tile, hashes in TILES.items()}
    with pytest.raises(ValueError, match="lacks"):
        Edge(len(LEAVES), cut)
    with pytest.raises(ValueError, match="narrow"):
        Prover(cut.__getitem__).root((0, len(LEAVES)))
    with pytest.raises(ValueError, match="not in a tree"):
        tree.inclusion_ranges(5, 5)
    with pytest.raises(ValueError, match="cannot begin"):
        tree.consistency_ranges(6, 5)


def _flip(data: bytes, draw: st.DataObject) -> bytes:
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)
