"""Clutter for the shopper's pictures: books, cups, fruit, plants and the like.

Sizes are in centimetres times `u` (scene units per centimetre), so that a book has the right
size next to a mug and next to a chair.
"""

import math

import shapes
from materials import make

PAINT = ["b3443a", "3d6b8e", "d9b24c", "4f7a54", "e7e2d6", "3a3a3f", "a88bb5", "c97f4e"]


def books(rng, u, x, y, z):
    h = z
    for _ in range(rng.randint(1, 3)):
        t = rng.uniform(1.5, 4) * u
        w, d = rng.uniform(13, 17) * u, rng.uniform(19, 24) * u
        turn = rng.uniform(-30, 30)
        shapes.box((w, d, t), make("plastic", rng.choice(PAINT)), (x, y, h + t / 2),
                   (0, 0, turn), 0.2 * u)
        shapes.box((w * 0.99, d * 0.97, t * 0.7), make("plastic", "ece6d6", rough=0.9),
                   (x + 0.3 * u, y, h + t / 2), (0, 0, turn), 0)
        h += t


def cup(rng, u, x, y, z):
    mat = make("ceramic", rng.choice(PAINT))
    shapes.vessel([(3 * u, 0), (3.6 * u, 1 * u), (3.9 * u, 8 * u)], mat, 0.4 * u, 0.8 * u,
                  loc=(x, y, z))


def fruit(rng, u, x, y, z):
    for i in range(rng.randint(1, 3)):
        mat = make("plastic", rng.choice(["b5332a", "d9812c", "8fa63a"]), rough=0.3)
        shapes.ball(3.6 * u, mat, (x + i * 6 * u, y + rng.uniform(-4, 4) * u, z + 3.5 * u))


def phone(rng, u, x, y, z):
    shapes.box((7.2 * u, 14.8 * u, 0.8 * u), make("plastic", "151619", rough=0.08),
               (x, y, z + 0.4 * u), (0, 0, rng.uniform(0, 180)), 0.3 * u)


def pencil(rng, u, x, y, z):
    a = rng.uniform(0, math.pi)
    dx, dy = math.cos(a) * 8 * u, math.sin(a) * 8 * u
    mat = make("plastic", rng.choice(PAINT))
    shapes.rod((x - dx, y - dy, z + 0.4 * u), (x + dx, y + dy, z + 0.4 * u), 0.4 * u, mat, seg=6)


def paper(rng, u, x, y, z):
    for i in range(2):
        shapes.box((14.8 * u, 21 * u, 0.1 * u), make("plastic", "e9e7e0", rough=0.95),
                   (x, y, z + (0.1 + i * 0.12) * u), (0, 0, rng.uniform(-60, 60)), 0)


def plant(rng, u, x, y, z, size=1.0):
    pot = make("clay", rng.choice(["b8613d", "d8d3c8", "5b6a70"]))
    leaf = make("plastic", rng.choice(["4d7a3e", "2f5d3a", "6f9a4a"]), rough=0.5)
    k = u * size
    shapes.vessel([(4.5 * k, 0), (6.2 * k, 11 * k)], pot, 0.6 * k, 1 * k, loc=(x, y, z))
    for i in range(11):
        a, lean = i * 2.4 + rng.random(), rng.uniform(0.25, 1.0)
        h = rng.uniform(13, 26) * k
        path = [(x, y, z + 8 * k)]
        for t in (0.35, 0.7, 1.0):
            path.append((x + math.cos(a) * lean * h * t * t * 0.7,
                         y + math.sin(a) * lean * h * t * t * 0.7,
                         z + 8 * k + h * (t - 0.35 * lean * t * t)))
        line = shapes.spline(path, 5)
        n = len(line)
        shapes.tube(line, [(0.2 + 2.0 * math.sin(math.pi * min(1, j / n + 0.05))) * k
                           for j in range(n)], leaf, seg=8, squash=0.12)


def big_plant(rng, u, x, y, z):
    plant(rng, u, x, y, z, 2.6)


def carton(rng, u, x, y, z):
    s = rng.uniform(0.8, 1.4)
    size = (22 * s * u, 16 * s * u, 13 * s * u)
    shapes.box(size, make("plastic", "b08a5c", rough=0.9), (x, y, z + size[2] / 2),
               (0, 0, rng.uniform(-40, 40)), 0.2 * u)


def tin(rng, u, x, y, z):
    shapes.disc(3.7 * u, z, z + 10 * u, make("metal", "c9ccd0"), 0.3 * u, loc=(x, y, 0))
    shapes.disc(3.75 * u, z + 1 * u, z + 9 * u, make("plastic", rng.choice(PAINT)), 0.1 * u,
                loc=(x, y, 0))


def tumbler(rng, u, x, y, z):
    shapes.vessel([(2.8 * u, 0), (3.3 * u, 10 * u)], make("glass", "eaf5f2"), 0.25 * u, 0.8 * u,
                  loc=(x, y, z))


def cable(rng, u, x, y, z):
    pts = [(x + math.cos(i) * (5 + i) * u, y + math.sin(i * 1.3) * 6 * u, z + 0.3 * u)
           for i in range(7)]
    shapes.tube(shapes.spline(pts, 8), 0.3 * u, make("plastic", rng.choice(["e9e9e9", "222326"])))


def keys(rng, u, x, y, z):
    brass = make("metal", rng.choice(["c9a24a", "b9bcc0"]))
    shapes.ring(1.5 * u, 0.12 * u, brass, loc=(x, y, z + 0.15 * u))
    for a in (20, 65):
        dx, dy = math.cos(math.radians(a)), math.sin(math.radians(a))
        shapes.box((5 * u, 0.9 * u, 0.2 * u), brass, (x + dx * 4 * u, y + dy * 4 * u, z + 0.2 * u),
                   (0, 0, a), 0.05 * u)
        shapes.disc(1.1 * u, z + 0.1 * u, z + 0.3 * u, brass, 0.05 * u,
                    loc=(x + dx * 2 * u, y + dy * 2 * u, 0))


def coins(rng, u, x, y, z):
    for i in range(3):
        shapes.disc(1.1 * u, z, z + 0.2 * u, make("metal", rng.choice(["c98f5a", "c9b26a", "b9bcc0"])),
                    0.05 * u, loc=(x + i * 1.9 * u, y + rng.uniform(-1, 1) * u, 0))


def beads(rng, u, x, y, z):
    mat = make("ceramic", rng.choice(["f1ece0", "3d6b8e", "b3443a", "2f5d4a"]))
    for i in range(9):
        shapes.ball(0.4 * u, mat, (x + (i - 4) * 0.75 * u, y + 0.9 * math.sin(i * 0.8) * u,
                                   z + 0.4 * u), seg=20)


def slippers(rng, u, x, y, z):
    mat = make("fabric", rng.choice(PAINT))
    for i in (-1, 1):
        shapes.ball(5 * u, mat, (x + i * 6 * u, y, z + 2.6 * u), (0.9, 2.3, 0.6))


def pouf(rng, u, x, y, z):
    mat = make("fabric", rng.choice(PAINT), rng.choice(PAINT), "stripes", n=10)
    shapes.lathe(shapes.spline([(0, 0), (20 * u, 2 * u), (24 * u, 15 * u), (20 * u, 29 * u),
                                (0, 31 * u)]), mat, loc=(x, y, z))


# The props of each place: (builder, radius it needs in cm, whether it may stand in front)
SETS = {
    "table": [(books, 15, True), (cup, 4.5, False), (fruit, 9, True), (phone, 8, True),
              (pencil, 8, True), (paper, 13, True), (plant, 11, False), (tin, 4.5, False),
              (tumbler, 4, False), (cable, 10, True), (carton, 18, False), (keys, 5, True)],
    "close": [(keys, 5, True), (coins, 3, True), (pencil, 8, False), (beads, 3.4, True),
              (phone, 8, False), (books, 15, False), (coins, 3, True), (beads, 3.4, True)],
    "floor": [(books, 15, True), (big_plant, 26, False), (carton, 18, False), (pouf, 26, False),
              (slippers, 13, True), (carton, 20, False), (plant, 12, False), (cable, 10, True)],
    "sofa": [(books, 15, True), (phone, 8, True), (paper, 13, True), (fruit, 9, True)],
}


def scatter(rng, R, lo, hi, u, place):
    """Puts 3 to 6 props around the model, none of them over it and at most one in front."""
    taken, front_used = [], False
    half = (hi - lo) / 2
    cx, cy = (lo.x + hi.x) / 2, (lo.y + hi.y) / 2
    foot = max(half.x, half.y)
    wanted = rng.randint(3, 6)
    for _ in range(60):
        if len(taken) >= wanted:
            break
        build, need, front_ok = rng.choice(SETS[place])
        r = need * u
        a = math.radians(rng.uniform(-35, 215))
        d = foot + r + rng.uniform(0.0, 1.1) * R
        x, y = cx + math.cos(a) * d, cy + math.sin(a) * d
        if place == "sofa" and y > hi.y - 0.1 * R:
            continue
        if y < cy - 0.2 * foot:
            if front_used or not front_ok:
                continue
            front_used = True
        if any(math.hypot(x - px, y - py) < r + pr for px, py, pr in taken):
            continue
        build(rng, u, x, y, lo.z)
        taken.append((x, y, r))


def on_wall(rng, R, low, y, u):
    """A picture, a shelf or a switch next to the model on the wall."""
    side = rng.choice((-1, 1))
    x = side * (R * 0.9 + 14 * u)
    frame = make("plastic", rng.choice(["2a2a2c", "c9a86a", "e9e7e2"]), rough=0.4)
    art = make("plastic", rng.choice(PAINT), rng.choice(PAINT), rng.choice(["patch", "dots", "bands"]),
               n=3.0, rough=0.8)
    z = rng.uniform(-0.4, 0.4) * R + R * 0.7
    shapes.box((24 * u, 2 * u, 30 * u), frame, (x, y - 1 * u, z), bevel=0.3 * u)
    shapes.box((20 * u, 0.4 * u, 26 * u), art, (x, y - 2.1 * u, z), bevel=0)
    shelf_z = low - rng.uniform(13, 20) * u  # its books may just touch what hangs above
    shapes.box((60 * u, 14 * u, 2.5 * u), make("wood", "9a6a40"), (-x * 0.6, y - 7 * u, shelf_z),
               bevel=0.3 * u)
    for i in range(rng.randint(3, 7)):
        h = rng.uniform(14, 22) * u
        shapes.box((3 * u, 11 * u, h), make("plastic", rng.choice(PAINT)),
                   (-x * 0.6 + (i * 3.3 - 12) * u, y - 7 * u, shelf_z + 1.3 * u + h / 2),
                   bevel=0.2 * u)
