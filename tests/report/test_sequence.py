import dataclasses
import json

import pytest

from mixreg.report.results import Group
from mixreg.report.sequence import Frame, PictureSequence, over_alpha
from mixreg.report.style import Picture


def picture(name):
    return Picture(name, f"Title of {name}", "", "", "<svg/>")


def sequence(**changes):
    frames = [Frame("0.2", picture("a")), Frame("2", picture("b"))]
    return dataclasses.replace(PictureSequence("s", "S", "", "α", frames), **changes)


def test_is_read_back():
    stored = json.loads(json.dumps(sequence(start=1).to_dict()))
    assert PictureSequence.from_dict(stored) == sequence(start=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "needs at least one frame, got none"),
        ({"frames": [Frame("1", picture("a"))] * 2}, "several frames for one value"),
        ({"start": 2}, "has 2 frames and should start with frame 2"),
        ({"start": -1}, "should start with frame -1"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        sequence(**changes)


def test_methods_with_one_alpha_keep_their_picture_and_others_share_a_slider():
    groups = [Group("erm", None), Group("mixup", 2.0), Group("gaussian", 1.0), Group("mixup", 0.2)]
    pictures = {
        group: Picture(f"p{k}", f"About {group.label}", "", "", "<svg/>")
        for k, group in enumerate(groups)
    }
    erm, mixup, gaussian = over_alpha(pictures)
    assert (erm, gaussian) == (pictures[groups[0]], pictures[groups[2]])
    assert isinstance(mixup, PictureSequence)
    assert mixup.title == "About mixup"
    assert mixup.values == ("0.2", "2")
    assert mixup.frames[1].picture is pictures[groups[1]]
