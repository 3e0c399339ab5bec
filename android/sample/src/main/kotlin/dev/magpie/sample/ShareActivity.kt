package dev.magpie.sample

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import dev.magpie.MagpieException
import dev.magpie.android.search
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch

/** Receives a picture shared by another app and shows the listings most similar to it. */
class ShareActivity : Activity() {
    private val scope = CoroutineScope(Job() + Dispatchers.Main)

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        title = "Similar things"
        val status = TextView(this).apply { text = "Searching…" }
        val results = ResultList(this)
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            addView(status)
            addView(results)
        }
        setContentView(ScrollView(this).apply { addView(column) })
        val photo = intent.picture()
        if (photo == null) {
            status.text = "Nothing was shared that contains a picture."
            return
        }
        scope.launch {
            try {
                val engine = Store.engine(this@ShareActivity)
                results.show(engine, engine.search(this@ShareActivity, photo).listings)
                status.text = ""
            } catch (e: MagpieException.Photo) {
                status.text = "This picture cannot be used: ${e.message}"
            } catch (e: MagpieException) {
                status.text = "Failed: ${e.message}"
            }
        }
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    @Suppress("DEPRECATION") // The replacement needs Android 13.
    private fun Intent.picture(): Uri? = when {
        action != Intent.ACTION_SEND -> null

        Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU -> getParcelableExtra(
            Intent.EXTRA_STREAM,
            Uri::class.java,
        )

        else -> getParcelableExtra(Intent.EXTRA_STREAM)
    }
}
