"""Columns that hold personal data, by their names and types, with nothing configured.

A first, simple classification: it prefers one column too many. Ids, counts and times are not personal by themselves.
"""

from __future__ import annotations

import re

CLASSES: dict[str, str] = {
    "email": r"\w*e_?mail\w*|mail|mail_?(addr|address)",
    "phone": r"\w*phone\w*|mobile\w*|cell|tel|fax|msisdn",
    "national_id": r"ssn|social_?security\w*|national_?id\w*|passport\w*|tax_?(id|number)|nino|driv\w*licen[cs]e\w*",
    "date_of_birth": r"dob|birth\w*|date_?of_?birth",
    "person_name": r"(first|last|middle|full|maiden|given|family|display|nick|sur)_?name|surname|forename",
    "address": r"(home|street|postal|billing|shipping|mailing)?_?addr(ess)?\w*|street\w*|zip(_?code)?|post(al)?_?code",
    "card": r"(credit|debit)?_?card(_?(number|no|num|pan))?|pan|cvv|cvc",
    "iban": r"iban|bic|swift|account_?(number|no)|bank_?account\w*|sort_?code|routing_?number",
    "ip": r"ip|ip_?addr(ess)?|remote_?addr(ess)?|client_?ip",
    "secret": r"pass(word|wd|phrase)?\w*|secret\w*|(api|access|private|auth)_?(key|token)\w*|token|otp|pin|salt",
    "health": r"diagnos[ie]s\w*|medical\w*|health\w*|allerg\w*|blood_?type|prescription\w*",
    "salary": r"salary|wage|income|compensation",
    "free_text": r"(customer_?|patient_?)?(comment|message|bio|notes_personal)s?",
}
_PATTERNS = {name: re.compile(rf"(.*_)?({pattern})(e?s)?(_.*)?") for name, pattern in CLASSES.items()}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PEOPLE = re.compile(
    r"(.*_)?(customer|user|employee|person|people|patient|member|contact|client|staff|student|subscriber|guest)s?(_.*)?"
)
_CLEAN_ENDINGS = re.compile(r".*(_id|_at|_count|_type|_status|_verified|_enabled|_kind)|id")
# What can't spell a name or an address. Any other type can, also one that somebody has made.
_PLAIN = frozenset(
    {
        "integer", "bigint", "smallint", "boolean", "timestamp", "date", "time", "interval", "numeric", "real",
        "double", "uuid", "money", "oid", "bit",
    }
)  # fmt: skip
_CONTAINERS = ("json", "jsonb", "xml", "hstore", "record")
# Relations of PostgreSQL's own and of its information schema that show others' data: statistics hold values, activity
# holds statements' texts.
_SYSTEM = {
    "pg_stats": frozenset({"most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"}),
    "pg_statistic": frozenset({f"stavalues{n}" for n in range(1, 6)}),
    "pg_stats_ext": frozenset({"most_common_vals"}),
    "pg_stats_ext_exprs": frozenset({"most_common_vals", "histogram_bounds", "most_common_elems"}),
    "pg_statistic_ext_data": frozenset({"stxdmcv", "stxdexpr"}),
    "pg_stat_activity": frozenset({"query", "client_addr", "client_hostname"}),
    "pg_stat_statements": frozenset({"query"}),
    "pg_authid": frozenset({"rolpassword"}),
    "pg_shadow": frozenset({"passwd"}),
    "pg_user_mapping": frozenset({"umoptions"}),
    "pg_user_mappings": frozenset({"umoptions"}),
    "user_mapping_options": frozenset({"option_value"}),
    "_pg_user_mappings": frozenset({"umoptions"}),
    "pg_subscription": frozenset({"subconninfo"}),
    "pg_largeobject": frozenset({"data"}),
    "pg_prepared_statements": frozenset({"statement"}),
    "pg_cursors": frozenset({"statement"}),
    "pg_file_settings": frozenset({"setting"}),
    "pg_hba_file_rules": frozenset({"options"}),
}


def classify(schema: str, relation: str, column: str, type_name: str, columns: tuple[str, ...]) -> str:
    """The class of a column, '' for none. `columns` are all names of its relation.

    `type_name` is the type of what is inside: of a domain's base, of an array's elements; `record` for a composite one.
    """
    if schema in ("pg_catalog", "information_schema"):
        return "system" if column in _SYSTEM.get(relation, ()) else ""
    if type_name.startswith(_CONTAINERS):
        return "document"  # what is in it can't be seen from outside
    if type_name.startswith(("inet", "cidr")):
        return "ip"
    column = _snake(column)
    found = _by_name(column)
    if found in ("person_name", "") and column in ("name", "username", "user_name", "login"):
        return "person_name" if _about_people(relation, columns) else ""
    if found and found not in ("date_of_birth", "salary") and re.split(r"[ (]", type_name)[0] in _PLAIN:
        digits = type_name.startswith(("integer", "bigint", "numeric"))
        return found if found in ("phone", "national_id", "card", "iban", "secret") and digits else ""
    return found


def _by_name(column: str) -> str:
    if _CLEAN_ENDINGS.fullmatch(column):
        return "national_id" if _PATTERNS["national_id"].fullmatch(column) else ""
    return next((name for name, pattern in _PATTERNS.items() if pattern.fullmatch(column)), "")


def _about_people(relation: str, columns: tuple[str, ...]) -> bool:
    return bool(_PEOPLE.fullmatch(_snake(relation))) or any(_by_name(_snake(c)) for c in columns)


def _snake(name: str) -> str:
    """firstName, FirstName and FIRST_NAME are first_name."""
    return _CAMEL.sub("_", name).lower()
