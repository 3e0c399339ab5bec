package dev.magpie.sample

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.util.LruCache
import android.view.Gravity
import android.view.View
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import dev.magpie.Listing
import dev.magpie.SearchEngine

/** The results: a row for each listing, with its thumbnail from the catalogue. */
internal class ResultList(context: Context) : LinearLayout(context) {
    private val pictures = LruCache<String, Bitmap>(PICTURES)

    init {
        orientation = VERTICAL
        accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
    }

    /** Shows listings, best first. */
    suspend fun show(engine: SearchEngine, listings: List<Listing>) {
        val shown = listings.map { picture(engine, it) }
        removeAllViews()
        listings.zip(shown) { listing, picture -> addView(row(listing, picture)) }
    }

    private suspend fun picture(engine: SearchEngine, listing: Listing): Bitmap? {
        val name = "${listing.id}/${listing.photo}"
        pictures[name]?.let { return it }
        val bitmap = engine.thumbnail(listing)?.let { BitmapFactory.decodeByteArray(it, 0, it.size) }
        return bitmap?.also { pictures.put(name, it) }
    }

    private fun row(listing: Listing, picture: Bitmap?): View {
        val dp = resources.displayMetrics.density
        val title = listing["title"] ?: listing.id
        val price = listOfNotNull(listing["price"], listing["currency"]).joinToString(" ")
        return LinearLayout(context).apply {
            gravity = Gravity.CENTER_VERTICAL
            minimumHeight = (72 * dp).toInt()
            // A single announcement for a screen reader instead of three.
            contentDescription = listOf(title, price).filter { it.isNotEmpty() }.joinToString(", ")
            isFocusable = true
            val image = ImageView(context).apply { setImageBitmap(picture) }
            addView(image, LayoutParams((64 * dp).toInt(), (64 * dp).toInt()))
            val text = TextView(context).apply {
                text = "$title\n$price"
                setPadding((12 * dp).toInt(), 0, 0, 0)
            }
            addView(text)
            listOf(image, text).forEach { it.importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO }
        }
    }

    private companion object {
        /** Number of decoded pictures to cache: a few lists. */
        const val PICTURES = 64
    }
}
