"""The Merkle tree of RFC 6962 and its hash tiles (C2SP tlog-tiles), as pure functions.

A leaf is SHA-256(0x00 || entry), an inner node SHA-256(0x01 || left || right). A *node* is a
perfect subtree `(height, index)` over the leaves `[index << height, (index + 1) << height)`. A
*tile* `(level, index)` holds up to 256 nodes of height `8 * level`, 32 bytes each; only the last
tile of a level may be partial. No I/O; neither entries nor signatures are known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962 section 2.1)."""

Node = tuple[int, int]
Tile = tuple[int, int]
Range = tuple[int, int]
TileReader = Callable[[Tile], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Join neighboring subtrees of falling size, left to right, into one hash."""
    if not hashes:
        return EMPTY_ROOT
    joined = hashes[-1]
    for left in reversed(hashes[:-1]):
        joined = node_hash(left, joined)
    return joined


def cover(low: int, high: int) -> list[Node]:
    """Return the perfect subtrees that make up the leaves `[low, high)` of an RFC 6962 subtree."""
    nodes = []
    while low < high:
        height = (high - low).bit_length() - 1
        nodes.append((height, low >> height))
        low += 1 << height
    return nodes


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the leaf ranges whose roots prove leaf `index` in a tree of `size` (RFC 9162 2.1.3).

    Raises:
        ValueError: when the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the leaf ranges whose roots prove that tree `new` begins with tree `old`.

    Raises:
        ValueError: when `old` is greater than `new` (RFC 9162 section 2.1.4).
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} cannot begin with a tree of {old}")
    if old == 0:
        return []
    low, high, path, whole = 0, new, [], True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low, whole = middle, False
    if not whole:
        path.append((low, high))
    return path[::-1]


def inclusion_proof(index: int, size: int, read: TileReader) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size`, read from tiles."""
    prover = Prover(read)
    return [prover.root(span) for span in inclusion_ranges(index, size)]


def consistency_proof(old: int, new: int, read: TileReader) -> list[bytes]:
    """Return the proof that the tree of `new` begins with the tree of `old`, read from tiles."""
    prover = Prover(read)
    return [prover.root(span) for span in consistency_ranges(old, new)]


def tiles_under(spans: Iterable[Range]) -> set[Tile]:
    """Return the tiles that hold everything needed for the roots of `spans`."""
    return {tile_of(node) for span in spans for node in cover(*span)}


def tile_of(node: Node) -> Tile:
    """Return the tile in which a node is found or can be computed."""
    height, index = node
    level, above = divmod(height, TILE_HEIGHT)
    return level, index >> (TILE_HEIGHT - above)


def node_from_tile(node: Node, hashes: bytes) -> bytes:
    """Return the hash of a node from the bytes of its tile.

    Raises:
        ValueError: when the tile is too narrow to hold the node.
    """
    height, index = node
    above = height % TILE_HEIGHT
    first = (index << above) % TILE_WIDTH
    end = (first + (1 << above)) * HASH_BYTES
    if len(hashes) < end:
        raise ValueError(f"the tile {tile_of(node)} is too narrow for node {node}")
    row = [hashes[at : at + HASH_BYTES] for at in range(first * HASH_BYTES, end, HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def tile_rows(hashes: bytes) -> list[list[bytes]]:
    """Return all complete nodes of a tile, one row for each height from its own upwards."""
    row = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    rows = [row]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        rows.append(row)
    return rows


class Prover:
    """Roots of leaf ranges from tiles, each tile hashed once; drop it when its tiles pile up."""

    __slots__ = ("_read", "_rows", "_spans")

    def __init__(self, read: TileReader) -> None:
        self._read = read
        self._rows: dict[Tile, list[list[bytes]]] = {}
        self._spans: dict[Range, bytes] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def root(self, span: Range) -> bytes:
        """Return the root of the RFC 6962 subtree over the leaves `span`.

        Raises:
            ValueError: when a tile is too narrow.
        """
        found = self._spans.get(span)
        if found is None:
            found = self._spans[span] = fold([self._node(node) for node in cover(*span)])
        return found

    def _node(self, node: Node) -> bytes:
        tile = tile_of(node)
        rows = self._rows.get(tile)
        if rows is None:
            rows = self._rows[tile] = tile_rows(self._read(tile))
        above = node[0] % TILE_HEIGHT
        place = node[1] % (TILE_WIDTH >> above)
        if above >= len(rows) or place >= len(rows[above]):
            raise ValueError(f"the tile {tile} is too narrow for node {node}")
        return rows[above][place]


def edge_tiles(size: int) -> dict[Tile, int]:
    """Return the partial tiles of a tree of `size` and their widths in hashes."""
    widths, level = {}, 0
    while (count := size >> (TILE_HEIGHT * level)) > 0:
        if width := count % TILE_WIDTH:
            widths[level, count // TILE_WIDTH] = width
        level += 1
    return widths


def full_tiles(size: int) -> list[int]:
    """Return how many full tiles each level of a tree of `size` has."""
    counts = []
    while (size := size // TILE_WIDTH) > 0:
        counts.append(size)
    return counts


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to, None if its shape cannot fit the tree."""
    if not 0 <= index < size or any(len(step) != HASH_BYTES for step in proof):
        return None
    position, last, root = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if position & 1 or position == last:
            root = node_hash(step, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, step)
        position, last = position >> 1, last >> 1
    return root if last == 0 else None


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Return whether `proof` shows `leaf` at `index` under `root` (RFC 9162 section 2.1.3.2)."""
    return root_from_inclusion(index, size, leaf, proof) == root


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether the tree `new` begins with the tree `old` (RFC 9162 section 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and new > 0 and old_root == EMPTY_ROOT
    if not 0 < old < new or any(len(step) != HASH_BYTES for step in proof):
        return False
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    return _walk_consistency(old, new, steps) == (old_root, new_root)


def _walk_consistency(old: int, new: int, steps: list[bytes]) -> tuple[bytes, bytes] | None:
    if not steps:
        return None
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_side = new_side = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old_side, new_side = node_hash(step, old_side), node_hash(step, new_side)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_side = node_hash(new_side, step)
        position, last = position >> 1, last >> 1
    return (old_side, new_side) if last == 0 else None


class Edge:
    """The right edge of a tree: all that is needed to append leaves and to know the root.

    It holds at most one partial tile for each level and one hash for each bit of the size, so its
    memory does not grow with the journal. The caller owns it; `copy` before a step that may fail.
    """

    __slots__ = ("_partial", "_stack", "size")

    def __init__(self, size: int, tiles: Mapping[Tile, bytes]) -> None:
        """Rebuild the edge of a tree of `size` from its tiles (at least its partial ones).

        Raises:
            ValueError: when a needed tile is missing or too narrow.
        """
        self.size = size
        self._partial: list[bytearray] = []
        for (level, index), width in edge_tiles(size).items():
            held = tiles.get((level, index), b"")[: width * HASH_BYTES]
            if len(held) != width * HASH_BYTES:
                raise ValueError(f"tile {level}/{index} lacks some of its {width} hashes")
            self._tile_at(level).extend(held)
        self._stack = [
            node_from_tile(node, bytes(self._partial[node[0] // TILE_HEIGHT]))
            for node in cover(0, size)
        ]

    def copy(self) -> Edge:
        """Return an edge that grows apart from this one."""
        twin = Edge(0, {})
        twin.size = self.size
        twin._partial = [bytearray(tile) for tile in self._partial]
        twin._stack = list(self._stack)
        return twin

    def root(self) -> bytes:
        """Return the root of the tree (RFC 6962 section 2.1)."""
        return fold(self._stack)

    def append(self, leaves: Iterable[bytes]) -> dict[Tile, bytes]:
        """Append leaf hashes; return every tile that changed, full and partial."""
        changed: dict[Tile, bytes] = {}
        touched: set[int] = set()
        for leaf in leaves:
            self._append(leaf, changed, touched)
        for level in touched:
            if tile := self._partial[level]:
                changed[level, self.size >> TILE_HEIGHT * (level + 1)] = bytes(tile)
        return changed

    def _append(self, leaf: bytes, changed: dict[Tile, bytes], touched: set[int]) -> None:
        node, ordinal, height = leaf, self.size, 0
        self._put(0, ordinal, node, changed, touched)
        while ordinal & 1:
            node = node_hash(self._stack.pop(), node)
            ordinal >>= 1
            height += 1
            if height % TILE_HEIGHT == 0:
                self._put(height // TILE_HEIGHT, ordinal, node, changed, touched)
        self._stack.append(node)
        self.size += 1

    def _put(
        self, level: int, ordinal: int, node: bytes, changed: dict[Tile, bytes], touched: set[int]
    ) -> None:
        tile = self._tile_at(level)
        tile += node
        touched.add(level)
        if len(tile) == TILE_BYTES:
            changed[level, ordinal // TILE_WIDTH] = bytes(tile)
            tile.clear()

    def _tile_at(self, level: int) -> bytearray:
        while len(self._partial) <= level:
            self._partial.append(bytearray())
        return self._partial[level]


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count` (RFC 6962 section 2.1)."""
    return 1 << (count - 1).bit_length() - 1
