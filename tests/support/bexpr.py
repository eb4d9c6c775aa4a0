"""The part of Nomad's filter language (go-bexpr) that people use on service registrations.

`parse(text)` gives a function from a registration to True or False, or raises BadFilter.
"""

import re

TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<op>==|!=|\(|\))|(?P<word>[A-Za-z_][\w.]*|-?\d+))""")

FIELDS = {
    "ID", "ServiceName", "Namespace", "NodeID", "Datacenter", "JobID", "AllocID",
    "Tags", "Address", "Port", "CreateIndex", "ModifyIndex",
}


class BadFilter(Exception):
    """The expression is not one."""


def tokenize(text):
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise BadFilter(f"1:{at + 1} ({at}): no match found")
        at = match.end()
        kind = match.lastgroup
        value = match.group(kind)
        if kind == "string":
            value = value[1:-1] if value[0] == "`" else re.sub(r"\\(.)", r"\1", value[1:-1])
        tokens.append((kind, value))
    return tokens


class Parser:
    """or → and → not → a comparison or a parenthesis."""

    def __init__(self, tokens):
        self.tokens = tokens
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, None)

    def take(self, kind=None, value=None):
        token = self.peek()
        if token[0] is None or (kind and token[0] != kind) or (value and token[1] != value):
            raise BadFilter(f"1:1 ({self.at}): no match found")
        self.at += 1
        return token[1]

    def has_word(self, word):
        return self.peek() == ("word", word)

    def any_of(self):
        terms = [self.all_of()]
        while self.has_word("or"):
            self.take()
            terms.append(self.all_of())
        return lambda entry: any(term(entry) for term in terms)

    def all_of(self):
        terms = [self.one()]
        while self.has_word("and"):
            self.take()
            terms.append(self.one())
        return lambda entry: all(term(entry) for term in terms)

    def one(self):
        if self.has_word("not"):
            self.take()
            inner = self.one()
            return lambda entry: not inner(entry)
        if self.peek() == ("op", "("):
            self.take()
            inner = self.any_of()
            self.take("op", ")")
            return inner
        return self.comparison()

    def comparison(self):
        if self.peek()[0] == "string":
            return self.value_in_field()
        field = self.take("word")
        if field not in FIELDS:
            raise BadFilter(f'Selector "{field}" is not valid')
        return self.field_against_value(field)

    def value_in_field(self):
        value = self.take("string")
        is_negated = self.has_word("not")
        if is_negated:
            self.take()
        self.take("word", "in")
        field = self.take("word")
        if field not in FIELDS:
            raise BadFilter(f'Selector "{field}" is not valid')
        return lambda entry: (value in (entry.get(field) or [])) != is_negated

    def field_against_value(self, field):
        kind, operator = self.peek()
        self.take()
        if kind == "op" and operator in ("==", "!="):
            value = self.literal()
            return lambda entry: (str(entry.get(field)) == value) == (operator == "==")
        if operator == "is":
            is_negated = self.has_word("not")
            if is_negated:
                self.take()
            self.take("word", "empty")
            return lambda entry: (not entry.get(field)) != is_negated
        is_negated = operator == "not"
        if is_negated:
            operator = self.take("word")
        value = self.literal()
        if operator == "contains":
            return lambda entry: (value in (entry.get(field) or [])) != is_negated
        if operator == "matches":
            pattern = re.compile(value)
            return lambda entry: bool(pattern.search(str(entry.get(field)))) != is_negated
        raise BadFilter(f"1:1 ({self.at}): no match found")

    def literal(self):
        kind, value = self.peek()
        if kind not in ("string", "word"):
            raise BadFilter(f"1:1 ({self.at}): no match found")
        self.take()
        return value


def parse(text):
    parser = Parser(tokenize(text))
    expression = parser.any_of()
    if parser.peek()[0] is not None:
        raise BadFilter(f"1:1 ({parser.at}): no match found")
    return expression
