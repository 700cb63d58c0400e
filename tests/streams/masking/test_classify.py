"""Which columns hold personal data, by their names and types alone."""

from __future__ import annotations

import pytest

from taprail.streams.masking.classify import classify


@pytest.mark.parametrize(
    ("column", "type_name", "data_class"),
    [
        ("email", "text", "email"),
        ("E_Mail", "character varying(200)", "email"),
        ("work_email_address", "text", "email"),
        ("mobile_phone", "text", "phone"),
        ("phone", "bigint", "phone"),
        ("first_name", "text", "person_name"),
        ("surname", "text", "person_name"),
        ("ssn", "character(11)", "national_id"),
        ("passport_number", "text", "national_id"),
        ("national_id", "text", "national_id"),
        ("date_of_birth", "date", "date_of_birth"),
        ("dob", "text", "date_of_birth"),
        ("home_address", "text", "address"),
        ("zip_code", "text", "address"),
        ("card_number", "bigint", "card"),
        ("iban", "text", "iban"),
        ("client_ip", "text", "ip"),
        ("seen_from", "inet", "ip"),
        ("password_hash", "text", "secret"),
        ("api_key", "text", "secret"),
        ("salary", "numeric(10,2)", "salary"),
        ("diagnosis", "text", "health"),
        ("payload", "jsonb", "document"),
        ("anything", "xml", "document"),
        ("anything", "hstore", "document"),
        ("email", "citext", "email"),
        ("email", "bytea", "email"),
        ("phone", "numeric", "phone"),
        ("city_code", "smallint", ""),
        ("contact", "record", "document"),
        ("emails", "text", "email"),
        ("emailAddress", "text", "email"),
        ("useremail", "text", "email"),
        ("phoneNumbers", "text", "phone"),
        ("FIRST_NAME", "text", "person_name"),
        ("dateOfBirth", "date", "date_of_birth"),
        ("customerId", "text", ""),
        ("female", "text", ""),
        ("id", "bigint", ""),
        ("customer_id", "bigint", ""),
        ("created_at", "timestamp with time zone", ""),
        ("email_verified", "boolean", ""),
        ("email_count", "integer", ""),
        ("phone_type", "text", ""),
        ("status", "text", ""),
        ("total", "numeric", ""),
        ("quantity", "integer", ""),
    ],
)
def test_by_name_and_type(column: str, type_name: str, data_class: str) -> None:
    assert classify("public", "orders", column, type_name, (column,)) == data_class


@pytest.mark.parametrize(
    ("relation", "columns", "data_class"),
    [
        ("customers", ("id", "name"), "person_name"),
        ("app_users", ("id", "name"), "person_name"),
        ("contacts", ("name", "email"), "person_name"),
        ("leads", ("name", "email"), "person_name"),
        ("AppUser", ("id", "name"), "person_name"),
        ("leads", ("name", "workEmail"), "person_name"),
        ("products", ("id", "name", "price"), ""),
        ("regions", ("name",), ""),
    ],
)
def test_a_bare_name_is_a_persons_where_the_table_is_about_people(
    relation: str, columns: tuple[str, ...], data_class: str
) -> None:
    assert classify("public", relation, "name", "text", columns) == data_class


@pytest.mark.parametrize(
    ("relation", "column", "data_class"),
    [
        ("pg_stats", "most_common_vals", "system"),
        ("pg_stats", "tablename", ""),
        ("pg_statistic", "stavalues3", "system"),
        ("pg_stat_activity", "query", "system"),
        ("pg_authid", "rolpassword", "system"),
        ("pg_roles", "rolname", ""),
        ("pg_class", "relname", ""),
        ("pg_largeobject", "data", "system"),
    ],
)
def test_postgresqls_own_relations_say_what_they_show(relation: str, column: str, data_class: str) -> None:
    assert classify("pg_catalog", relation, column, "text", (column,)) == data_class
