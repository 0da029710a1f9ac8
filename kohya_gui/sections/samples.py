"""Sample pictures: when they are drawn, and the prompts as lines of text."""

from __future__ import annotations

from kohya_gui.form.form import PROMPTS
from kohya_gui.form.section import FormSection
from kohya_gui.form.widgets import field_id, foot
from kohya_gui.markup import Markup, tag
from kohya_gui.text import every, say, words
from sd_scripts.params.config import Config
from sd_scripts.params.samples import Samples
from sd_scripts.params.spec import section_of

PLACEHOLDER = "a photo of sks cat on a chair --w 512 --h 512 --d 1 --l 7 --s 25"
COLUMNS = ("Prompt", "Negative", "Width", "Height", "Steps", "Scale", "Seed", "Sampler")
PROMPTS_HELP = (
    "One prompt per line. A line may set --n negative, --w width, --h height, --d seed, --l guidance, --s steps. They count before a prompt file."
)


class SampleImages(FormSection):
    """Pictures drawn while training."""

    title = "Sample pictures"
    parts = (Samples,)

    def summary(self, config: Config) -> str:
        """How often."""
        samples = config[Samples]
        often = [every(samples.sample_every_n_steps, "step"), every(samples.sample_every_n_epochs, "epoch")]
        return " · ".join(word for word in often if word) or say("none while training")

    def before(self) -> Markup:
        """The prompts as text."""
        lines = tag(
            "textarea",
            rows=4,
            id=f"i-{PROMPTS}",
            data_key=PROMPTS,
            placeholder=PLACEHOLDER,
            autocomplete="off",
            aria_describedby=f"h-{PROMPTS} m-{PROMPTS}",
        )
        heads = [tag("th", say(word), scope="col") for word in COLUMNS]
        table = tag(
            "table", tag("thead", tag("tr", heads, tag("th", tag("span", say("Delete"), class_="visually-hidden")))), tag("tbody", id="prompts-rows")
        )
        samplers = tag("datalist", [tag("option", value=name) for name in section_of(Samples).param("sample_sampler").choices], id="prompt-samplers")
        rows = tag("div", table, samplers, class_="sideways prompts-table", tabindex="0", role="region", aria_label=say("Prompts as a table"))
        return tag(
            "div",
            tag("div", rows, tag("button", say("Add a prompt"), type="button", class_="button", id="add-prompt"), class_="prompts-box"),
            tag("label", say("Prompts as lines"), for_=f"i-{PROMPTS}", class_="name"),
            tag("p", tag("code", PROMPTS), " ", say(PROMPTS_HELP), id=f"h-{PROMPTS}", class_="info"),
            tag("div", lines, class_="box"),
            foot(PROMPTS, words()),
            id=field_id(PROMPTS),
            class_="field wide",
            data_part=Samples.__name__,
        )
