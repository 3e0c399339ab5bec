package dev.magpie

import dev.magpie.internal.Crop as RustCrop
import dev.magpie.internal.Group as RustGroup
import dev.magpie.internal.SearchOptions as RustOptions

/**
 * What to search for beside the photo.
 *
 * ```kotlin
 * val options = SearchOptions(limit = 20, filter = column("price") atMost 50, crop = Crop(120, 80, 600, 600))
 * ```
 *
 * @property limit listings wanted, 1 to 10,000
 * @property filter which listings count; all by default
 * @property crop the part of the photo that shows the thing; all of it by default
 * @property recall the share of the nearest photos that the search should find, 0 to 1; the library's default if null
 * @property minScore listings whose cosine is below this are left out
 * @property nearDuplicates listings whose photo is this near, as a cosine, to that of a better one are left out; 0.97
 * is about the same photo
 * @property group at most so many listings for each value of a column
 */
public data class SearchOptions(
    val limit: Int = 10,
    val filter: Filter? = null,
    val crop: Crop? = null,
    val recall: Float? = null,
    val minScore: Float? = null,
    val nearDuplicates: Float? = null,
    val group: Group? = null,
) {
    init {
        require(limit in 1..MAX_LIMIT) { "the limit must be 1 to $MAX_LIMIT, not $limit" }
    }

    internal fun rust(): RustOptions = RustOptions(
        k = limit.toUInt(),
        filter = filter?.toString(),
        crop = crop?.rust(),
        recall = recall,
        minScore = minScore,
        nearDuplicates = nearDuplicates,
        group = group?.rust(),
    )

    public companion object {
        /** The most listings that a search gives. */
        public const val MAX_LIMIT: Int = 10_000
    }
}

/**
 * A part of the upright photo or frame.
 *
 * @property x left edge in pixels
 * @property y top edge in pixels
 * @property width at least 1 pixel
 * @property height at least 1 pixel
 */
public data class Crop(val x: Int, val y: Int, val width: Int, val height: Int) {
    init {
        require(x >= 0 && y >= 0 && width >= 1 && height >= 1) { "no such part of a photo: $x, $y, $width x $height" }
    }

    internal fun rust(): RustCrop = RustCrop(x.toUInt(), y.toUInt(), width.toUInt(), height.toUInt())
}

/**
 * At most so many listings for each value of a column, so that one shop does not fill the page.
 *
 * @property column a filter column
 * @property most listings for each of its values, at least 1
 */
public data class Group(val column: String, val most: Int) {
    init {
        require(most >= 1) { "a group holds at least one listing, not $most" }
    }

    internal fun rust(): RustGroup = RustGroup(column, most.toUInt())
}
