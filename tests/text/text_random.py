"""text_random.py COUNT SEED: random texts, a line each, in which any byte may be \\xHH.

Of blocks whose characters Unicode has had for long: of others, the categories that programs know differ with the
version of Unicode.
"""
import random
import sys

BLOCKS = [
    (0x00, 0x7F), (0x80, 0x24F), (0x2B0, 0x377), (0x391, 0x481), (0x5D0, 0x5EA), (0x621, 0x66D), (0x904, 0x939),
    (0x93E, 0x94D), (0xE01, 0xE3A), (0x1E00, 0x1F15), (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20BA),
    (0x2100, 0x218B), (0x2190, 0x23FA), (0x2600, 0x27BF), (0x3000, 0x30FF), (0x3400, 0x4DB5), (0x4E00, 0x9FCC),
    (0xAC00, 0xD7A3), (0xE000, 0xE010), (0xF900, 0xFA6D), (0xFF01, 0xFFEE), (0x1F300, 0x1F64F), (0x20000, 0x2A6D6),
    (0x1D15E, 0x1D172), (0x302A, 0x302F),
]
PIECES = [
    "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'", " ", " ", " ", "  ", "\n", "\t", "[MASK]", "[SEP]", "[",
    "<|endoftext|>", "the ", "The", "a", "1", "\u0301", "\u0323", "\u00a0", "\u3000", "\u0130", "\ufffd", "\\", "\x00",
]


def piece(chance):
    what = chance.random()
    if what < 0.4:
        return chance.choice(PIECES).encode()
    if what < 0.75:
        return chr(chance.randint(*chance.choice(BLOCKS))).encode()
    if what < 0.95:
        return chr(chance.randint(0x20, 0x7E)).encode()
    return bytes([chance.randrange(256)])


def escape(text):
    return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\x{b:02X}" for b in text)


def main():
    count, seed = map(int, sys.argv[1:])
    chance = random.Random(seed)
    for _ in range(count):
        print(escape(b"".join(piece(chance) for _ in range(chance.choice((1, 3, 8, 20, 60, 200))))))


if __name__ == "__main__":
    main()
