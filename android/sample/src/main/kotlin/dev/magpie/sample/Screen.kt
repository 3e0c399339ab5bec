package dev.magpie.sample

import android.app.Activity
import android.view.Gravity
import android.view.TextureView
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.FrameLayout
import android.widget.HorizontalScrollView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import android.widget.ToggleButton
import dev.magpie.Filter
import dev.magpie.column

/** The main screen's views, created in code so that the sample compiles without Android's build tools. */
internal class Screen(activity: Activity, openPhoto: () -> Unit, openBenchmark: () -> Unit, resume: () -> Unit) {
    val preview = TextureView(activity).apply { contentDescription = "Camera" }
    val box = CropBox(activity)
    val chips = Chips(activity)
    val results = ResultList(activity)
    private val status = TextView(activity)

    val root: View = LinearLayout(activity).apply {
        orientation = LinearLayout.VERTICAL
        // In portrait the frames are rotated by a quarter turn: their width is the sensor's height.
        val camera = AspectLayout(activity, FRAME_HEIGHT.toFloat() / FRAME_WIDTH)
        camera.addView(preview)
        camera.addView(box)
        addView(camera, LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f).apply { gravity = Gravity.CENTER })
        addView(chips.view)
        addView(status)
        addView(ScrollView(activity).apply { addView(results) }, LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f))
        val buttons = LinearLayout(activity)
        for ((label, action) in listOf("Camera" to resume, "Photo" to openPhoto, "Benchmark" to openBenchmark)) {
            val button = Button(activity).apply {
                text = label
                setOnClickListener { action() }
            }
            buttons.addView(button, LinearLayout.LayoutParams(0, WRAP_CONTENT, 1f))
        }
        addView(buttons)
    }

    /** Shows a status line; null keeps the last one. */
    fun say(text: String?) {
        if (text != null && text != status.text.toString()) status.text = text
    }
}

/** Filter chips: one word of a column, or none for all. */
internal class Chips(private val activity: Activity) {
    private val row = LinearLayout(activity)
    private var chosen: String? = null
    val view: View = HorizontalScrollView(activity).apply { addView(row) }

    fun offer(words: List<String>) {
        row.removeAllViews()
        for (word in words) {
            val chip = ToggleButton(activity)
            chip.textOn = word
            chip.textOff = word
            chip.isChecked = word == chosen
            chip.contentDescription = "Only $word"
            chip.setOnClickListener {
                chosen = word.takeIf { chip.isChecked }
                offer(words)
            }
            row.addView(chip)
        }
    }

    fun filter(name: String): Filter? = chosen?.let { column(name) equalTo it }
}

/** Fits the available space while keeping the aspect ratio, width / height. */
private class AspectLayout(activity: Activity, private val aspect: Float) : FrameLayout(activity) {
    override fun onMeasure(widthSpec: Int, heightSpec: Int) {
        val width = View.MeasureSpec.getSize(widthSpec)
        val height = View.MeasureSpec.getSize(heightSpec)
        val fitted = minOf(width, (height * aspect).toInt())
        val exactly = { size: Int -> View.MeasureSpec.makeMeasureSpec(size, View.MeasureSpec.EXACTLY) }
        super.onMeasure(exactly(fitted), exactly((fitted / aspect).toInt()))
    }
}
