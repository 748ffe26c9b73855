"""Reads a stream and the texts that were accepted for it, and says what they are to expat.

Input, as JSON: {"header", "stanzas": [written], "texts": [as the caller wrote it]}. Output: one line for each
difference, nothing where each text means the one stanza that was written for it.
"""

import json
import sys
from xml.parsers import expat

ADDRESSES = ("from", "to", "id")


class Trees:
    """The elements of depth 1, as nested lists."""

    def __init__(self):
        self.parser = expat.ParserCreate("UTF-8", " ")
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        for forbidden in ("Comment", "ProcessingInstruction", "StartDoctypeDecl"):
            setattr(self.parser, forbidden + "Handler", self.forbidden)
        self.open, self.done = [], []

    def forbidden(self, *_):
        raise ValueError("not allowed in XMPP")

    def start(self, name, attrs):
        pairs = sorted(zip(attrs[::2], attrs[1::2]))
        self.open.append([name, pairs, []])

    def end(self, _):
        element = self.open.pop()
        if len(self.open) == 1:
            element[1] = [pair for pair in element[1] if pair[0] not in ADDRESSES]
            self.done.append(element)
        elif self.open:
            self.open[-1][2].append(element)

    def text(self, text):
        if len(self.open) < 2:
            if text.strip(" \t\r\n"):
                raise ValueError("text beside the stanza")
            return
        content = self.open[-1][2]
        if content and isinstance(content[-1], str):
            content[-1] += text
        else:
            content.append(text)

    def feed(self, text):
        """The elements that have ended in this piece."""
        self.parser.Parse(text.encode("utf-8", "surrogatepass"), False)
        done, self.done = self.done, []
        return done


def main():
    given = json.load(sys.stdin)
    stream = Trees()
    stream.feed(given["header"])
    for text, written in zip(given["texts"], given["stanzas"], strict=True):
        try:
            alone = Trees()
            alone.feed("<stream xmlns='jabber:client'>")
            meant = alone.feed(text)
            alone.feed("</stream>")
            came = stream.feed(written)
            if len(meant) != 1 or meant != came:
                print(f"{text!r} means {meant}, and {written!r} is {came}")
        except (ValueError, expat.ExpatError) as error:
            print(f"{error}: {text!r} written {written!r}")
            stream = Trees()
            stream.feed(given["header"])


main()
