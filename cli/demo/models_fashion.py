"""Rings, bags and hats."""

import math

from materials import make
from models_tableware import main_mat
from padded import ellipse, panel, rounded
from shapes import ball, box, fillet, lathe, loft, place, ring, rod, spline, square, tube


def _gem(r, mat, loc, n=12, depth=.62):
    """A cut stone: flat table, faceted crown and pointed pavilion."""
    prof = [(0, -depth * r), (r, 0), (r, .06 * r), (.62 * r, .34 * r), (0, .34 * r)]
    return place(lathe(prof, mat, seg=n, flat=True), loc)


def _cut(colour):
    """A stone's material: clear, but tinted enough to read as a colour when small."""
    return make("wax", "2fa9a6", rough=.12) if colour == "turquoise" else make("glass", colour)


def jewel(o):
    """A finger ring, standing on its hoop, rotated so that the stone is visible."""
    mat, body, R = main_mat(o), o["body"], .5
    stone = _cut(o["stone"]) if "stone" in o else None
    turn = (90, 0, 0)

    def hoop(r=R, t=.05, squash=1.0, loc=(0, 0, 0)):
        return ring(r, t, mat, n=120, squash=squash, rot=turn, loc=(loc[0], loc[1], loc[2] + R))
    top = 2 * R
    if body in ("solitaire", "halo", "three"):
        hoop()
        g = o.get("size", .2)
        z = top + .16
        _gem(g, stone, (0, 0, z), o.get("cut", 12))
        for i in range(4):
            a = math.radians(45 + 90 * i)
            rod((.05 * math.cos(a), .05 * math.sin(a), top - .02),
                (g * math.cos(a), g * math.sin(a), z + .05), .022, mat)
        if body == "halo":
            ring(g + .05, .03, mat, loc=(0, 0, z - .02))
            clear = _cut("f4fbff")
            for i in range(14):
                a = 2 * math.pi * i / 14
                _gem(.055, clear, ((g + .06) * math.cos(a), (g + .06) * math.sin(a), z + .03), 8)
        if body == "three":
            side = _cut(o.get("stone2", "f4fbff"))
            for s in (-1, 1):
                _gem(g * .68, side, (s * (g + .13), 0, z - .06), 12)
                rod((s * .12, 0, top - .04), (s * (g + .13), 0, z - .12), .03, mat)
    elif body == "band":
        w = o.get("width", .16)
        prof = fillet([(R - .05, -w), (R + .02, -w), (R + .02, w), (R - .05, w), (R - .05, -w)], .03)
        place(lathe(prof, mat, seg=140), (0, 0, R), turn)
        if "inlay" in o:
            place(lathe([(R + .026, -w * .4), (R + .026, w * .4)], make(*o["inlay"]), seg=140),
                  (0, 0, R), turn)
    elif body == "signet":
        hoop(t=.055)
        lathe(fillet([(0, 0), (.2, 0), (.3, .14), (.3, .2), (0, .2)], .03), mat, stretch=(1, .85),
              loc=(0, 0, top - .1), section=square(o.get("power", 2.6)))
        if "inlay" in o:
            lathe([(.235, .205), (0, .205)], make(*o["inlay"]), stretch=(1, .85),
                  section=square(o.get("power", 2.6)), loc=(0, 0, top - .1))
    elif body == "cabochon":
        hoop(t=.045)
        ball(.26, stone, (0, 0, top + .06), (1.0, .78, .62))
        ring(.255, .035, mat, loc=(0, 0, top + .03))
    elif body == "twist":
        for k in (0, math.pi):
            path = []
            for i in range(160):
                a = 2 * math.pi * i / 160
                r = R + .05 * math.cos(9 * a + k)
                path.append((r * math.cos(a), .06 * math.sin(9 * a + k), r * math.sin(a) + R))
            tube(path, .045, mat, closed=True)


def _straps(w, z, rise, mat, y, thick=.028, squash=.5):
    p = [(-w, y, z - .2), (-w, y, z), (-w * .85, y, z + rise * .7), (-w * .35, y, z + rise),
         (w * .35, y, z + rise), (w * .85, y, z + rise * .7), (w, y, z), (w, y, z - .2)]
    tube(spline(p, 8), thick, mat, squash=squash)


def bag(o):
    mat, body = main_mat(o), o["body"]
    trim = make(*o["trim"]) if "trim" in o else mat
    brass = make("metal", o.get("metal", "gold"))
    if body == "tote":
        d = .34
        panel(rounded(1.15, 1.15, .05, top=1.3), d, mat, bulge=.03, edge=.05)
        for y in (-.19, .19):
            _straps(.3, 1.12, o.get("rise", .62), trim, y)
        if "motif" in o:
            lathe([(.26, 0), (0, 0)], make("fabric", o["motif"]), rot=(90, 0, 0),
                  loc=(0, -d / 2 - .035, .55))
    elif body == "satchel":
        panel(rounded(1.3, .95, .1), .34, mat, bulge=.02)
        flap = panel(rounded(1.32, .62, .16), .05, trim, bulge=.02)
        place(flap, (0, -.2, .37))
        for x in (-.34, .34):
            box((.09, .03, .46), trim, (x, -.25, .38), bevel=.01)
            box((.14, .03, .1), brass, (x, -.265, .34), bevel=.01)
        _straps(.2, .98, .2, trim, 0, .035)
        tube(spline([(-.66, 0, .8), (-.74, 0, 1.25), (0, .05, 1.85), (.74, 0, 1.25), (.66, 0, .8)], 8),
             .03, trim, squash=.5)
    elif body == "bucket":
        prof = spline([(.40, 0), (.44, .05), (.42, .5), (.36, .85), (.42, 1.05)])
        lathe([(0, 0)] + prof + [(.36, 1.0), (.30, .8)], mat, section=lambda a, v: 1 + .05 * math.cos(
            9 * a) * max(0, v - .55) * 2)
        ring(.385, .022, trim, loc=(0, 0, .84))
        for s in (-1, 1):
            rod((s * .03, -.4, .84), (s * .1, -.46, .5), .02, trim)
            ball(.04, brass, (s * .1, -.46, .48))
        tube(spline([(-.4, 0, .9), (-.42, 0, 1.3), (0, 0, 1.8), (.42, 0, 1.3), (.4, 0, .9)], 8), .03,
             trim, squash=.5)
    elif body == "backpack":
        panel(rounded(.95, 1.25, .32), .4, mat, bulge=.05)
        place(panel(rounded(.72, .5, .12), .16, trim, bulge=.03), (0, -.26, .12))
        place(panel(rounded(.98, .5, .22), .1, trim, bulge=.02), (0, -.21, .8))
        box((.1, .03, .4), make("leather", "6f4527"), (0, -.3, .72), bevel=.01)
        box((.14, .03, .08), brass, (0, -.31, .6), bevel=.01)
        tube(spline([(-.12, .1, 1.22), (-.1, .1, 1.4), (.1, .1, 1.4), (.12, .1, 1.22)], 8), .03, trim)
        for s in (-1, 1):
            tube(spline([(s * .3, .2, 1.15), (s * .52, .42, .9), (s * .5, .42, .4), (s * .4, .2, .12)],
                        8), .05, trim, squash=.4)
    elif body == "duffle":
        place(lathe(fillet([(0, -.85), (.40, -.85), (.42, -.6), (.42, .6), (.40, .85), (0, .85)], .14),
                    mat), (0, 0, .42), (0, 90, 0))
        for x in (-.45, .45):
            place(ring(.425, .035, trim, squash=.4), (x, 0, .42), (0, 90, 0))
        for y in (-.3, .3):
            _straps(.45, .78, .38, trim, y, .035)
        rod((-.6, 0, .845), (.6, 0, .845), .02, brass)
    elif body == "moon":
        half = ellipse(1.3, 1.1, n=40, start=180, end=360)
        panel([(x, z) for x, z in half], .26, mat, bulge=.05, edge=.06)
        tube(spline([(-.62, 0, .52), (-.5, 0, 1.0), (0, 0, 1.3), (.5, 0, 1.0), (.62, 0, .52)], 8), .04,
             trim, squash=.6)
        for s in (-1, 1):
            place(ring(.06, .018, brass), (s * .62, 0, .56), (90, 0, 0))
        rod((-.5, -.02, .56), (.5, -.02, .56), .018, brass)
    elif body == "clutch":
        panel(rounded(1.4, .8, .05), .16, mat, bulge=.03)
        tri = [(-.69, .78), (0, .28), (.69, .78)]
        pts = []
        for a, b in zip(tri, tri[1:] + tri[:1]):
            pts += [(a[0] + (b[0] - a[0]) * i / 12, a[1] + (b[1] - a[1]) * i / 12) for i in range(12)]
        panel(pts, .05, trim, loc=(0, -.115, 0), bulge=.01)
        place(ball(.06, brass), (0, -.17, .33))
        ring(.16, .016, brass, loc=(.78, 0, .6), rot=(90, 0, 0))
    elif body == "basketbag":
        lathe([(0, 0)] + spline([(.42, 0), (.52, .25), (.56, .75)]) + [(.52, .74), (.46, .2)], mat,
              stretch=(1.15, .62))
        for y in (-.3, .3):
            _straps(.3, .8, .5, trim, y, .032, .8)
        if "scarf" in o:
            m = make("fabric", o["scarf"], "f4efe2", "dots", n=7, duty=.25)
            for s in (-1, 1):
                ball(.12, m, (.3 + s * .1, -.36, .78), (1.2, .4, .7))
            ball(.05, m, (.3, -.38, .78))
            rod((.3, -.38, .76), (.22, -.40, .45), .03, m, .09)


def hat(o):
    mat, body = main_mat(o), o["body"]
    band = make(*o.get("band", ("fabric", "1b1b1d")))

    def brim(r0, r1, curl, droop=0.0, stretch=(1, 1.14)):
        """A brim that rises at the sides by curl and falls at the edge by droop."""
        rows = []
        for k in range(9):
            r = r0 + (r1 - r0) * k / 8
            rows.append([(r * math.cos(a) * stretch[0], r * math.sin(a) * stretch[1],
                          .06 + (k / 8) ** 2 * (curl * math.cos(a) ** 2 - droop))
                         for a in [2 * math.pi * i / 72 for i in range(72)]])
        rows += [[(x, y, z - .025) for x, y, z in row] for row in reversed(rows)]
        return loft(rows, mat, caps=False)

    def crown(h, r, top, pinch, k=12):
        """A crown tapering to top, its front pinched and its middle creased."""
        rows = []
        for i in range(k + 1):
            t = i / k
            rr = r + (top - r) * t if t < .8 else (r + (top - r) * .8) * math.cos((t - .8) / .2 * 1.45)
            z = h * (t / .8) if t < .8 else h * (1 + .1 * math.sin((t - .8) / .2 * 1.57))
            row = []
            for j in range(72):
                a = 2 * math.pi * j / 72
                front = max(0, -math.sin(a)) ** 3
                s = 1 - pinch * front * t * abs(math.cos(a)) * 1.6
                x, y = rr * math.cos(a) * s, rr * math.sin(a) * 1.14
                dip = pinch * .55 * h * max(0, 1 - abs(x) / (.5 * r)) if t > .8 else 0
                row.append((x, y, .06 + z - dip * (t - .8) / .2 if t > .8 else .06 + z))
            rows.append(row)
        loft(rows, mat)

    def ribbon(r, h, m, z=.06):
        lathe([(r + .012, z), (r + .004, z + h)], m, stretch=(1, 1.14))
    if body == "fedora":
        brim(.46, o.get("brim", .84), .10)
        crown(.58, .47, .38, .55)
        ribbon(.47, .14, band)
    elif body == "cowboy":
        brim(.46, .98, .38, .05, (1, 1.2))
        crown(.62, .47, .36, .7)
        ribbon(.47, .07, band)
    elif body in ("boater", "sun"):
        if body == "boater":
            lathe(fillet([(0, .0), (.9, .0), (.9, .04), (.48, .05), (.48, .42), (0, .42)], .03), mat,
                  stretch=(1, 1.1))
            lathe([(.488, .07), (.488, .27)], band, stretch=(1, 1.1))
        else:
            rows = spline([(1.15, .0), (.9, .10), (.52, .13), (.48, .2), (.46, .45), (.32, .6),
                           (0, .64)])
            lathe(rows, mat, section=lambda a, v: 1 + .02 * math.cos(5 * a) * (1 - v), stretch=(1, 1.1))
            lathe([(.492, .15), (.488, .28)], band, stretch=(1, 1.1))
            for s in (-1, 1):
                ball(.11, band, (.34 + s * .1, -.44, .22), (1.2, .4, .7))
    elif body == "bucket":
        lathe(spline([(.82, 0), (.68, .13), (.52, .24), (.50, .27)]) + fillet(
            [(.50, .27), (.42, .68), (0, .70)], .06), mat, stretch=(1, 1.08))
    elif body == "cap":
        lathe(spline([(.50, 0), (.51, .1), (.48, .32), (.30, .5), (0, .56)]), mat, stretch=(1, 1.1))
        ball(.04, mat, (0, 0, .565))
        rows = []
        for k in range(7):
            t = k / 6
            rows.append([(.47 * math.cos(a) * (1 - .08 * t),
                          -.53 * abs(math.sin(a)) ** .8 - .52 * t * abs(math.sin(a)) ** .7 + .05,
                          .03 - .10 * t * math.cos(a) ** 2 + .01)
                         for a in [math.pi * i / 30 for i in range(31)]])
        loft(rows + [[(x, y, z - .02) for x, y, z in r] for r in reversed(rows)],
             make(*o["peak"]) if "peak" in o else mat, caps=False)
        if "badge" in o:
            panel(ellipse(.26, .2, n=30), .015, make("fabric", o["badge"]), loc=(0, -.565, .13),
                  rot=(-9, 0, 0))
    elif body == "beanie":
        lathe(spline([(.46, .0), (.52, .2), (.50, .45), (.34, .72), (.08, .84), (0, .84)]), mat)
        lathe(fillet([(.50, -.02), (.55, .0), (.56, .22), (.50, .24)], .04),
              make("knit", o.get("cuff", o["c"]), stitches=34, ratio=.25))
        if "pom" in o:
            pom = make("fabric", o["pom"])
            for i in range(60):
                y = 1 - 2 * (i + .5) / 60
                r = math.sqrt(1 - y * y)
                ball(.07, pom, (.14 * r * math.cos(i * 2.4), .14 * r * math.sin(i * 2.4),
                                .93 + .14 * y), seg=10)
    elif body == "beret":
        lathe(spline([(.42, 0), (.46, .06), (.74, .2), (.76, .3), (.55, .4), (0, .44)]), mat,
              rot=(8, -9, 0))
        place(rod((0, 0, .42), (.02, 0, .54), .025, mat), (.0, 0, 0), (8, -9, 0))


MODELS = {"ring": jewel, "bag": bag, "hat": hat}
