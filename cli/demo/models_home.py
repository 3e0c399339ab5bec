"""Lamps, candles, wall clocks, baskets and cushions."""

import math

from materials import make
from models_tableware import main_mat
from padded import panel, pillow, rounded, text
from shapes import (ball, box, disc, fillet, flutes, lathe, place, ring, rod, spline, square, tube,
                    vessel)


def lamp(o):
    mat = main_mat(o)
    trim = make(*o.get("trim", ("metal", "gold")))
    base, top = o["base"], 1.0
    if base == "ball":
        disc(.26, 0, .05, trim)
        lathe(spline([(.12, .05), (.40, .22), (.44, .42), (.30, .68), (.07, .82), (.06, .95)]), mat,
              section=flutes(18, .04) if o.get("ribbed") else None)
    elif base == "gourd":
        lathe(spline([(.24, 0), (.40, .22), (.22, .5), (.28, .68), (.1, .86), (.06, .98)]), mat)
    elif base == "bottle":
        vessel(spline([(.26, 0), (.34, .1), (.34, .45), (.12, .72), (.07, .95)]), mat, .03, .06)
    elif base == "column":
        disc(.34, 0, .07, mat)
        lathe(fillet([(0, .07), (.15, .07), (.13, .9), (0, .9)], .03), mat, section=flutes(14, .07))
    elif base == "cube":
        box((.5, .5, .6), mat, (0, 0, .3), bevel=.05)
        rod((0, 0, .6), (0, 0, .95), .03, trim)
    elif base == "stick":
        disc(.34, 0, .05, mat)
        rod((0, 0, .03), (0, 0, 1.25), .028, mat)
        top = 1.2
    elif base == "tripod":
        for i in range(3):
            a = math.radians(120 * i + 90)
            rod((.50 * math.cos(a), .50 * math.sin(a), 0),
                (.03 * math.cos(a), .03 * math.sin(a), 1.1), .035, mat, .045)
        ring(.26, .014, trim, loc=(0, 0, .5))
        top = 1.05
    elif base == "mushroom":
        lathe(spline([(.34, 0), (.26, .06), (.14, .3), (.15, .8)]), mat)
        top = .72
    elif base == "desk":
        disc(.34, 0, .06, mat)
        a, b, c = (0, 0, .06), (-.34, 0, .85), (.30, 0, 1.35)
        for dy in (-.035, .035):
            rod((a[0], dy, a[2]), (b[0], dy, b[2]), .018, mat)
            rod((b[0], dy, b[2]), (c[0], dy, c[2]), .018, mat)
        for p in (b, c):
            place(disc(.07, -.07, .07, trim), p, (90, 0, 0))
        head = lathe(spline([(.06, .1), (.10, .04), (.16, -.06), (.30, -.30)]), mat)
        place(head, (.36, 0, 1.32), (0, -28, 0))
        place(ball(.11, make("emit", "fff0d0", glow=2.5)), (.45, 0, 1.14))
        return
    shade = make("shade", o.get("sc", "cream"), o.get("sc2"), o.get("spat"), n=o.get("sn", 8),
                 duty=.5, glow=o.get("glow", .5))
    kind = o["shade"]
    rod((0, 0, top - .15), (0, 0, top + .25), .02, trim)
    z = top - .02
    if kind == "globe":
        ball(.36, make("shade", o.get("sc", "f4ead2"), glow=1.0), (0, 0, top + .3))
    elif kind == "dome":
        lathe(spline([(.52, z), (.50, z + .18), (.34, z + .4), (.08, z + .48), (0, z + .48)]),
              make(*o["dome"]) if "dome" in o else mat)
        lathe([(.49, z + .01), (0, z + .02)], make("emit", "ffe9c4", glow=1.2))
    else:
        lo, hi, h = {"cone": (.56, .26, .58), "drum": (.48, .48, .52), "tall": (.36, .30, .75),
                     "pleat": (.58, .30, .52)}[kind]
        sec = flutes(44, .035) if kind == "pleat" else square(5) if o.get("sq") else None
        seg = 264 if kind == "pleat" else 96
        lathe([(lo, z), ((lo + hi) / 2, z + h / 2), (hi, z + h)], shade, section=sec, seg=seg)


def _wick(x, y, z, lit):
    tube([(x, y, z - .02), (x, y, z + .05), (x + .015, y, z + .1)], .012, make("plastic", "2a2019"))
    if lit:
        lathe(spline([(0, z + .05), (.035, z + .1), (.022, z + .18), (0, z + .26)], 5),
              make("emit", "ffb23e", glow=6.0), loc=(x, y, 0))


def candle(o):
    wax = main_mat(o)
    body, lit = o["body"], o.get("lit", True)
    if body == "pillar":
        h = o.get("h", 1.0)
        sec = {"twist": flutes(5, .12), "ribbed": flutes(16, .05), "square": square(7)}.get(
            o.get("section"))
        lathe(fillet([(0, 0), (.32, 0), (.32, h), (.27, h), (.22, h - .04), (0, h - .05)], .05), wax,
              section=sec, twist=o.get("twist", 0), seg=120)
        _wick(0, 0, h - .04, lit)
        if o.get("dish"):
            lathe(fillet([(0, -.06), (.42, -.06), (.5, .03), (.46, .03), (.4, -.02), (0, -.02)], .03),
                  make(*o["dish"]))
    elif body == "tapers":
        for x, h in ((-.24, .35), (.24, .6)):
            m = make(*o["holder"])
            lathe(spline([(.2, 0), (.19, .03), (.05, .08), (.04, h * .5), (.07, h - .08),
                          (.09, h), (.06, h)], 5), m, loc=(x, 0, 0))
            rod((x, 0, h - .03), (x, 0, h + .95), .055, wax, .04)
            _wick(x, 0, h + .95, lit)
    elif body in ("jar", "tin", "hurricane"):
        h = {"jar": .78, "tin": .45, "hurricane": 1.15}[body]
        r = {"jar": .38, "tin": .44, "hurricane": .36}[body]
        shell = make(*o["shell"])
        vessel(fillet([(r - .03, 0), (r, .03), (r, h)], .03), shell, .03, .05)
        fill = .3 if body == "hurricane" else h - .16
        rr = .2 if body == "hurricane" else r - .036
        disc(rr, .055, .055 + fill, wax)
        _wick(0, 0, .055 + fill, lit)
        if "label" in o:
            panel(rounded(.42, .3, .03, z0=.2), .012, make("plastic", o["label"], rough=.8),
                  loc=(0, -r - .004, 0))
            text(o.get("words", "LINEN"), .1, make("plastic", "2a2a2a"), (0, -r - .016, .37))
        if "lid" in o:
            lid = disc(r + .02, 0, .08, make(*o["lid"]))
            place(lid, (r + .28, -.12, .34), (0, 68, 10))
    elif body == "bubble":
        k = .215
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                for z in (0, 1, 2):
                    ball(.15, wax, (x * k, y * k, .13 + z * k), seg=24)
        _wick(0, 0, .13 + 2 * k + .14, lit)
    elif body == "trio":
        for x, y, h, r, c in ((-.34, .05, .95, .22, 0), (.1, .2, .68, .22, 1), (.2, -.28, .42, .22, 2)):
            m = make("wax", (o["c"], o["c2"], o["c3"])[c])
            lathe(fillet([(0, 0), (r, 0), (r, h), (r - .05, h), (0, h - .04)], .04), m, loc=(x, y, 0))
            _wick(x, y, h - .03, lit)
    elif body == "chamber":  # a low dish with a finger ring
        m = make(*o["holder"])
        lathe(fillet([(0, 0), (.46, 0), (.52, .12), (.48, .12), (.43, .04), (0, .04)], .03), m)
        lathe([(.12, .04), (.11, .22), (.13, .24), (.07, .24)], m)
        ring(.12, .025, m, loc=(.62, 0, .1), rot=(90, 0, 0))
        rod((0, 0, .2), (0, 0, .95), .075, wax)
        _wick(0, 0, .95, lit)


def _clock_shape(o):
    """Frame and face; both face the front (-y) and hang around the origin."""
    frame = main_mat(o)
    face = make(*o.get("face", ("plastic", "f4f1ea")))
    kind, w = o["body"], o.get("w", .08)
    up = (90, 0, 0)
    if kind in ("round", "oct", "square"):
        sec = square(9) if kind == "square" else None
        seg = 8 if kind == "oct" else 96
        turn = (90, 22.5, 0) if kind == "oct" else up
        lathe(fillet([(1.0, 0), (1.0, .12), (1 - w * .4, .15), (1 - w, .12), (1 - w, .05)], .03),
              frame, section=sec, seg=seg, flat=kind == "oct", rot=turn)
        lathe([(1 - w * .8, .05), (0, .05)], face, section=sec, seg=seg, rot=turn, by="r")
        return .06, 1 - w - .1
    if kind == "disc":
        lathe(fillet([(1, 0), (1, .1), (0, .1)], .03), frame, rot=up, by="r")
        return .105, .86
    if kind == "sun":
        for i in range(36):
            a = math.radians(10 * i)
            r = 1.0 if i % 2 else .78
            rod((.3 * math.cos(a), -.04, .3 * math.sin(a)), (r * math.cos(a), -.03, r * math.sin(a)),
                .035, frame, .01)
        lathe(fillet([(.42, 0), (.42, .12), (.36, .12), (.36, .06)], .02), frame, rot=up)
        lathe([(.38, .07), (0, .07)], face, rot=up)
        return .08, .31
    if kind == "arch":
        side = [(-.7, -.9), (.7, -.9)] + [(.7 * math.cos(t), .25 + .7 * math.sin(t)) for t in
                                          [math.pi * i / 20 for i in range(21)]]
        panel([(x, z) for x, z in side], .3, frame, edge=.02, loc=(0, -.15, 0))
        lathe([(.55, 0), (.55, .03), (0, .03)], face, rot=up, loc=(0, -.3, .22))
        ring(.55, .03, make("metal", "gold"), rot=up, loc=(0, -.32, .22))
        return .34, .46


def clock(o):
    depth, r = _clock_shape(o)
    ink = make("plastic", o.get("ink", "1b1b1d"))
    cz = .22 if o["body"] == "arch" else 0.0
    y = -depth - .004
    marks = o.get("marks", "numbers")
    roman = ["XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI"]
    for i in range(12):
        a = math.radians(90 - 30 * i)
        x, z = r * .86 * math.cos(a), r * .86 * math.sin(a) + cz
        if marks == "numbers":
            text(str(i or 12), r * .27, ink, (x, y, z))
        elif marks == "roman":
            text(roman[i], r * .2, ink, (x, y, z), (90, 30 * i, 0))
        elif marks == "dots":
            place(disc(r * .05, 0, .02, ink), (x, y + .01, z), (90, 0, 0))
        elif marks == "ticks":
            long = i % 3 == 0
            box((r * (.07 if long else .04), .015, r * (.24 if long else .14)), ink, (x, y, z),
                (0, 30 * i, 0), bevel=.004)
    hour, minute = o.get("time", (10, 9))
    hand = make("plastic", o.get("hand", o.get("ink", "1b1b1d")))
    for turn, length, wide in ((30 * (hour + minute / 60), .52, .07), (6 * minute, .78, .045)):
        a = math.radians(90 - turn)
        mid = (length * .42 * r)
        box((wide * r, .012, length * r), hand, (mid * math.cos(a), y - .015, mid * math.sin(a) + cz),
            (0, turn, 0), bevel=.005)
    place(disc(r * .06, 0, .04, hand), (0, y, cz), (90, 0, 0))
    if "second" in o:
        rod((0, y - .03, cz - .15 * r), (.5 * r, y - .03, cz + .62 * r), .012, make("plastic", o["second"]))


BASKETS = {
    "round": [(.42, 0), (.52, .2), (.54, .5)],
    "tall": [(.40, 0), (.44, .4), (.46, 1.15)],
    "belly": [(.34, 0), (.58, .22), (.58, .5), (.42, .78), (.44, .86)],
    "tray": [(.60, 0), (.66, .12), (.70, .26)],
    "cone": [(.30, 0), (.40, .3), (.54, .66)],
}


def basket(o):
    """A basket with modelled weaving: upright stakes, and strands that pass before and behind them."""
    mat = main_mat(o)
    alt = make(o["k"], o["c2"]) if "c2" in o else mat
    prof = spline(BASKETS[o["body"]], 10)
    h = prof[-1][1]
    sx, sy = o.get("stretch", (1, 1))
    n_sq = o.get("power", 2)
    stakes, rows, thick = o.get("stakes", 26), o.get("rows", 14), o.get("thick", .024)

    def at(a, z, extra=0.0):
        r = next((p[0] for p in prof if p[1] >= z), prof[-1][0])
        k = (abs(math.cos(a)) ** n_sq + abs(math.sin(a)) ** n_sq) ** (-1 / n_sq)
        return ((r + extra) * k * math.cos(a) * sx, (r + extra) * k * math.sin(a) * sy, z)
    wire = o.get("wire")
    for i in range(stakes):
        a = 2 * math.pi * i / stakes
        tube([at(a, h * t / 10) for t in range(11)], thick * (.5 if wire else .7), mat, seg=6)
    for row in range(rows):
        z = h * (row + .5) / rows
        m = alt if o.get("split", .0) > (row + .5) / rows else mat
        if o.get("stripe") and (row // o["stripe"]) % 2:
            m = alt
        steps = stakes * 4
        path = [at(2 * math.pi * i / steps, z, 0 if wire else thick * .9 * math.cos(
            math.pi * i / 4 + math.pi * row)) for i in range(steps)]
        tube(path, thick if not wire else thick * .5, m, seg=7, closed=True,
             squash=1.0 if wire else max(.7, h / rows / thick / 2.15))
    for extra in (0, .02):  # a rolled rim
        tube([at(2 * math.pi * i / 60, h + extra * .6, extra - .01) for i in range(60)],
             thick * 1.4, make(*o["rimmat"]) if "rimmat" in o else mat, seg=8, closed=True)
    lathe([(prof[0][0] * .98, .012), (0, .012)], mat, stretch=(sx, sy))
    grip = make(*o["grip"]) if "grip" in o else mat
    if o.get("handles") == "over":
        p = [at(0, h * .9), (sx * prof[-1][0], 0, h + .3), (0, 0, h + .72),
             (-sx * prof[-1][0], 0, h + .3), at(math.pi, h * .9)]
        tube(spline(p, 10), thick * 1.8, grip)
    elif o.get("handles") == "ears":
        for s in (0, math.pi):
            p = [at(s - .35, h * .92), at(s - .3, h + .2, .05), at(s + .3, h + .2, .05),
                 at(s + .35, h * .92)]
            tube(spline(p, 8), thick * 1.6, grip)
    if o.get("lid"):
        lathe(spline([(prof[-1][0] + .05, h + .02), (prof[-1][0] * .8, h + .13), (.2, h + .19),
                      (0, h + .2)], 8), make("straw", o["c"], ), by="r")
        ball(.06, grip, (0, 0, h + .24))
    if o.get("throw"):  # a blanket rolled up inside
        m = make("fabric", o["throw"], "f2efe6", "bands", n=9)
        for i, x in enumerate((-.17, .02, .2)):
            ball(.22, m, (x, .06 * (-1) ** i, h - .02), (.8, 1.2, .85))


def cushion(o):
    mat = main_mat(o)
    body, trim = o["body"], make("fabric", o.get("tc", "cream"))
    lean = (-14, 0, 0)
    w, h = {"square": (1.2, 1.2), "lumbar": (1.6, .85)}.get(body, (1.2, 1.2))
    if body in ("square", "lumbar"):
        pillow(w, h, .5, mat, rot=lean)
    elif body == "bolster":
        place(lathe(fillet([(0, -.75), (.3, -.75), (.3, .75), (0, .75)], .08), mat), (0, 0, .3),
              (0, 90, 0))
        for s in (-1, 1):
            place(ring(.28, .025, trim), (s * .74, 0, .3), (0, 90, 0))
            ball(.05, trim, (s * .77, 0, .3))
        return
    elif body == "round":
        lathe(spline([(0, -.16), (.08, -.2), (.4, -.22), (.62, -.1), (.64, 0), (.62, .1), (.4, .22),
                      (.08, .2), (0, .16)]), mat, by="r", loc=(0, 0, .64), rot=(76, 0, 0),
              section=flutes(14, .02), seg=168)
        place(ball(.07, trim, scale=(1, .5, 1)), (0, -.2, .68))
        return
    c, s = math.cos(math.radians(14)), math.sin(math.radians(14))

    def on(x, z, y=0.0):  # maps a point of the upright cushion to its leaning position
        return (x, y * c + z * s, z * c - y * s)
    if "tc" in o and o.get("edge") == "piping":
        edge = []
        for k in range(80):
            t = k / 20
            i, f = int(t), t - int(t)
            u, v = [(-1 + 2 * f, -1), (1, -1 + 2 * f), (1 - 2 * f, 1), (-1, 1 - 2 * f)][i]
            edge.append(on(w / 2 * u * (1 - .08 * (1 - v * v)),
                           h / 2 * v * (1 - .08 * (1 - u * u)) + h / 2))
        tube(edge, .022, trim, closed=True)
    if o.get("edge") == "tassel":
        for u in (-1, 1):
            for v in (0, 1):
                x, z = u * (w / 2 + .02), v * h
                ball(.05, trim, on(x, z))
                rod(on(x, z), on(x + u * .12, z - .14 if v else z + .02), .03, trim, .06)
    if o.get("edge") == "fringe":
        for k in range(44):
            z = h * (k + .5) / 44
            for u in (-1, 1):
                x = u * w / 2 * (1 - .08 * (1 - (2 * z / h - 1) ** 2))
                rod(on(x, z), on(x + u * .13, z - .03), .012, trim, seg=5)
    if o.get("buttons"):
        for x in (-.28, .28):
            for z in (.35, .85):
                ball(.05, trim, on(x, z, -.21))


MODELS = {"lamp": lamp, "candle": candle, "clock": clock, "basket": basket, "cushion": cushion}
