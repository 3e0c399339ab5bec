package dev.magpie

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.nio.ByteBuffer
import kotlin.time.Duration

/** A photo finds the most similar listings. */
class SearchTest {
    private val mug = Demo.photo("mug-01.jpg")

    @Test
    fun `shoppers' photos find what they show`() = withEngine { engine ->
        val places =
            Demo.queries.map { (photo, listing) ->
                engine.search(Demo.photo(photo)).listings.indexOfFirst { it.id == listing }
            }
        val first = places.count { it == 0 }
        val amongFive = places.count { it in 0..4 }
        println("of ${places.size} photos: $first first, $amongFive in the top five")
        assertTrue(first >= 90 && amongFive >= 115, "$first first, $amongFive in the top five")
    }

    @Test
    fun `a listing has fields and photos, a result has attributes and times`() = withEngine { engine ->
        val results = engine.search(mug)
        val best = results.listings.first()
        assertEquals("mug-01", best.id)
        assertEquals("Tall tapered mug in sea-green stoneware", best["title"])
        assertEquals("18.00", best.fields["price"])
        assertEquals(engine.info.fields.filter { it in best.fields }, best.fields.keys.toList())
        assertNull(best["no such field"])
        assertEquals(listOf("mug-01-1.jpg", "mug-01-2.jpg"), best.photos)
        assertTrue(best.photo in best.photos)
        assertEquals(results.listings.sortedByDescending { it.score }, results.listings)
        assertTrue(results.attributes.any { it.name == "category" && it.probability in 0f..1f })
        assertTrue(results.times.network > Duration.ZERO && results.times.total > results.times.network)
    }

    @Test
    fun `a calibrated model gives a confidence, and no label below its threshold`(@TempDir folder: File) = suspending {
        val weights = """{"score": 6.6, "margin": 3.4, "contrast": 7.3}"""
        val confidence =
            """{"kind": "logistic-1", "weights": $weights, "bias": -7.1, "background": 0.12, "threshold": 0.5}"""
        SearchEngine.open(Demo.calibrated(folder, confidence), Demo.catalog).use { engine ->
            val catalogued = Demo.root.resolve("cli/demo/photos/mug-01-1.jpg").readBytes()
            val results = engine.search(catalogued)
            val inside = checkNotNull(results.confidence)
            assertTrue(inside.enough && inside.probability in 0.7f..1f, "$inside")
            assertEquals(inside, engine.search(catalogued, SearchOptions(limit = 1)).confidence)
            val chairs = engine.search(catalogued, SearchOptions(filter = column("category") equalTo "Chairs"))
            val outside = checkNotNull(chairs.confidence)
            assertTrue(!outside.enough && outside.probability < inside.probability, "$outside")
            assertTrue(chairs.listings.isNotEmpty())
            val nothing = engine.search(catalogued, SearchOptions(filter = column("price") lessThan 0)).confidence
            assertEquals(Confidence(0f, false), nothing)

            val category = results.attributes.single { it.name == "category" }
            assertNull(category.label)
            assertTrue(category.probability in 0f..1f)
        }
    }

    @Test
    fun `arrays, heap buffers and direct buffers at any position give the same`() = withEngine { engine ->
        val expected = engine.search(mug).listings
        val padded = ByteArray(7) + mug + ByteArray(5)
        val heap = ByteBuffer.wrap(padded, 7, mug.size)
        val direct = ByteBuffer.allocateDirect(padded.size).put(padded)
        direct.position(7).limit(7 + mug.size)
        for (buffer in listOf(heap, heap.slice(), direct, direct.slice(), direct.asReadOnlyBuffer())) {
            val position = buffer.position()
            assertEquals(expected, engine.search(buffer).listings)
            assertEquals(position, buffer.position())
            assertEquals(mug.size, buffer.remaining())
        }
        assertThrows<MagpieException.Photo> { engine.search(ByteBuffer.allocateDirect(0)) }
    }

    @Test
    fun `a search uses only the crop`() = withEngine { engine ->
        val all = engine.search(mug, SearchOptions(crop = Crop(0, 0, 256, 256)))
        assertEquals(engine.search(mug).listings, all.listings)
        val part = engine.search(mug, SearchOptions(crop = Crop(64, 64, 128, 128)))
        assertNotEquals(all.listings.map { it.score }, part.listings.map { it.score })
        assertThrows<MagpieException.Photo> { engine.search(mug, SearchOptions(crop = Crop(200, 0, 100, 100))) }
        assertThrows<IllegalArgumentException> { Crop(0, 0, 0, 10) }
        assertThrows<IllegalArgumentException> { Crop(-1, 0, 10, 10) }
    }

    @Test
    fun `a search returns as many listings as requested`() = withEngine { engine ->
        val ten = engine.search(mug).listings
        assertEquals(10, ten.size)
        assertEquals(ten.take(3), engine.search(mug, SearchOptions(limit = 3)).listings)
        val all = engine.search(mug, SearchOptions(limit = SearchOptions.MAX_LIMIT, recall = 1f)).listings
        assertEquals(engine.info.listings, all.size.toLong())
        assertThrows<IllegalArgumentException> { SearchOptions(limit = 0) }
        assertThrows<IllegalArgumentException> { SearchOptions(limit = SearchOptions.MAX_LIMIT + 1) }
    }

    @Test
    fun `a minimum score leaves out lower ones`() = withEngine { engine ->
        val all = engine.search(mug, SearchOptions(limit = 50)).listings
        val least = all[20].score
        val good = engine.search(mug, SearchOptions(limit = 50, minScore = least)).listings
        assertEquals(all.filter { it.score >= least }, good)
    }

    @Test
    fun `groups have no more listings than requested`() = withEngine { engine ->
        val options = SearchOptions(limit = 30, group = Group("category", 2))
        val categories = engine.search(mug, options).listings.groupingBy { it["category"] }.eachCount()
        assertTrue(categories.size > 3 && categories.values.all { it <= 2 }, "$categories")
        assertThrows<IllegalArgumentException> { Group("category", 0) }
        val none = SearchOptions(group = Group("no such column", 1))
        assertThrows<MagpieException.Request> { engine.search(mug, none) }
    }

    @Test
    fun `near duplicates are left out on request`() = withEngine { engine ->
        val all = engine.search(mug, SearchOptions(limit = 40)).listings
        val apart = engine.search(mug, SearchOptions(limit = 40, nearDuplicates = 0.7f)).listings
        assertEquals(all.first(), apart.first())
        assertTrue(all.take(apart.size) != apart, "nothing was left out")
    }

    @Test
    fun `more like a listing`() = withEngine { engine ->
        val like = engine.moreLike("mug-01", SearchOptions(limit = 5))
        assertEquals(5, like.size)
        assertTrue(like.none { it.id == "mug-01" })
        assertEquals(like.sortedByDescending { it.score }, like)
        assertTrue(like.any { it["category"] == "Mugs" }, "${like.map { it.id }}")
        val mugs = engine.moreLike("mug-01", SearchOptions(filter = column("category") equalTo "Mugs"))
        assertTrue(mugs.size > 2 && mugs.all { it["category"] == "Mugs" && it.id != "mug-01" }, "$mugs")
        assertThrows<MagpieException.Request> { engine.moreLike("no such listing") }
    }

    @Test
    fun `words of a column`() = withEngine { engine ->
        val colours = engine.words("colour")
        assertEquals(colours.sorted(), colours)
        assertTrue("green" in colours, "$colours")
        assertEquals(colours.take(2), engine.words("colour", most = 2))
        assertEquals(emptyList<String>(), engine.words("price"))
        assertThrows<MagpieException.Request> { engine.words("no such column") }
        assertThrows<IllegalArgumentException> { engine.words("colour", most = 0) }
    }

    @Test
    fun `thumbnails are JPEGs of their listing`() = withEngine { engine ->
        val best = engine.search(mug).listings.first()
        val picture = checkNotNull(engine.thumbnail(best))
        val jpeg = byteArrayOf(0xFF.toByte(), 0xD8.toByte(), 0xFF.toByte())
        assertArrayEquals(jpeg, picture.copyOf(3))
        // It shows that listing: searching with it finds the listing again.
        assertEquals(best.id, engine.search(picture).listings.first().id)
        assertThrows<MagpieException.Request> { engine.thumbnail("no such listing", "x.jpg") }
        assertNull(engine.thumbnail(best.id, "no such photo.jpg"))
    }

    @Test
    fun `an engine describes what it has open`() = withEngine { engine ->
        val info = engine.info
        assertEquals(128L, info.listings)
        assertEquals(256L, info.photos)
        assertEquals(192 to 192, info.inputWidth to info.inputHeight)
        assertEquals(64, info.modelId.length)
        assertEquals(true, info.columns.single { it.name == "price" }.isNumber)
        assertEquals(false, info.columns.single { it.name == "colour" }.isNumber)
        assertTrue(info.hasThumbnails && info.openTime > Duration.ZERO && "title" in info.fields)
    }
}
