"""A catalogue's table and shoppers' photos become training data, and what cannot be used is said."""

import csv
from pathlib import Path

import pytest
from conftest import ROOT

from magpie_models import catalogue, data, tables
from magpie_models.catalogue import TableError, convert, split_of
from magpie_models.goods import Goods
from magpie_models.holdout import Holdout, training_rows

DEMO = ROOT / "cli" / "demo"


def demo(out: Path, maps: list[str] = []) -> tuple[list[dict[str, str]], list[str]]:
    return convert(DEMO / "catalog.csv", DEMO / "photos", DEMO / "queries.csv", DEMO / "queries", out, maps)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_demo_becomes_training_data(tmp_path):
    rows, left_out = demo(tmp_path)
    assert not left_out and len(rows) == 384
    mug = next(row for row in rows if row["listing_id"] == "mug-01" and row["domain"] == "user")
    assert (mug["coarse"], mug["colour"], mug["material"], mug["class_id"]) == ("Mugs", "green", "stoneware", "mug-01")
    assert all((tmp_path / row["path"]).resolve().is_file() for row in rows)
    shares = {split: sum(row["split"] == split for row in rows) / 128 for split in ("train", "val", "test")}
    assert 0.5 < shares["train"] < 0.85 and min(shares["val"], shares["test"]) > 0.05
    labels = data.make_labels(rows, training_rows(rows))
    assert len(labels.names["product"]) == 128 and len(labels.names["category"]) == 16
    # Holding out goes by the id, whether it is a number or not.
    assert len(Holdout.parse(rows, "0/4").products) == 32


def test_the_photos_of_a_user_are_in_one_split(tmp_path):
    lines = [f"mug-0{1 + i % 8},mug-0{1 + i % 8}.jpg,user{i % 5}" for i in range(40)]
    shoppers = write(tmp_path / "shoppers.csv", "listing_id,photo,user\n" + "\n".join(lines))
    rows, _ = convert(DEMO / "catalog.csv", DEMO / "photos", shoppers, DEMO / "queries", tmp_path, [])
    splits = {}
    for row in rows:
        if row["domain"] == "user":
            splits.setdefault(row["group"], set()).add(row["split"])
    assert len(splits) == 5 and all(len(found) == 1 for found in splits.values())
    assert split_of("user0") == split_of("user0")


def test_attributes_come_from_the_mapped_columns_and_the_first_row_that_has_them(tmp_path):
    table = "listing_id,photo,art,Farbe\nx,mug-01-1.jpg,,\nx,mug-01-2.jpg,Becher,gruen\n"
    catalog = write(tmp_path / "catalog.csv", table)
    shoppers = write(tmp_path / "s.csv", "listing_id,photo\nx,mug-01.jpg\n")
    sources = (catalog, DEMO / "photos", shoppers, DEMO / "queries", tmp_path)
    rows, _ = convert(*sources, ["category=art", "colour=Farbe"])
    assert {(row["coarse"], row["colour"]) for row in rows} == {("Becher", "gruen")}
    with pytest.raises(TableError, match="no column 'colour'; it has listing_id, photo, art, Farbe"):
        convert(*sources, ["colour=colour"])
    with pytest.raises(TableError, match="expected ATTRIBUTE=COLUMN"):
        convert(*sources, ["size=art"])


def test_what_cannot_be_used_is_left_out_with_its_line(tmp_path):
    write(tmp_path / "broken.jpg", "not a photo")
    shoppers = write(tmp_path / "s.csv", "listing_id,photo\nnobody,a.jpg\nmug-01,gone.jpg\nmug-01,broken.jpg\n")
    _, left_out = convert(DEMO / "catalog.csv", DEMO / "photos", shoppers, tmp_path, tmp_path, [])
    assert [reason.split(": ")[0].rsplit(" ", 1)[1] for reason in left_out] == ["2", "3", "4"]
    assert "not in" in left_out[0] and "not found" in left_out[1] and "not a photo" in left_out[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("id,photo\n1,a.jpg\n", "no column 'listing_id'"), ("listing_id,photo\nx,\n", "line 2: 'photo' is empty")],
)
def test_an_unusable_table_is_an_error(tmp_path, text, reason):
    with pytest.raises(TableError, match=reason):
        list(catalogue.read_table(write(tmp_path / "t.csv", text), ("listing_id", "photo")))


def test_the_command_writes_a_manifest(tmp_path, monkeypatch, capsys):
    words = [
        "catalogue",
        "--catalog",
        DEMO / "catalog.csv",
        "--images",
        DEMO / "photos",
        "--shoppers",
        DEMO / "queries.csv",
    ]
    words += ["--shopper-images", DEMO / "queries", "--out", tmp_path / "mine"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    catalogue.main()
    assert "128 listings, 256 catalogue photos" in capsys.readouterr().out
    with open(tmp_path / "mine" / "manifest.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 384


def test_a_data_set_becomes_tables_of_the_product(shop):
    catalog, shoppers = tables.product_tables(shop.rows)
    assert len(catalog) == 6 and len(shoppers) == 36
    assert catalog[0] == {
        "listing_id": "1", "photo": "c0.png", "category": "Group0", "colour": "red", "shape": "round",
        "material": "carton",
    }
    assert {row["listing_id"] for row in shoppers} == {row["listing_id"] for row in catalog}
    assert {row["split"] for row in shoppers} == {"train", "val", "test"}
    broad = Goods.read(shop.goods)
    catalog, shoppers = tables.goods_tables(broad)
    assert catalog and shoppers and {row["listing_id"] for row in shoppers} <= {row["listing_id"] for row in catalog}
    assert all((broad.folder / row["photo"]).is_file() for row in catalog + shoppers)
    tables.write(shop.work / "catalog.csv", catalog)
    with open(shop.work / "catalog.csv", newline="") as file:
        assert list(csv.DictReader(file)) == catalog
