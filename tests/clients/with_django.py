"""Django: models, `inspectdb`'s introspection, migrations' schema editor, transactions, iterator()."""

from __future__ import annotations

import django
from django.conf import settings
from django.db import DatabaseError, connection, connections, models, transaction
from told import DATABASE, HOST, PASSWORD, PORT, PROTECTED, USER, parameters, tell, tell_table


def database(name: str) -> dict[str, object]:
    rest = {key: parameters()[key] for key in ("sslmode", "sslrootcert") if key in parameters()}
    given = {"NAME": name, "USER": USER, "PASSWORD": PASSWORD, "HOST": HOST, "PORT": PORT, "OPTIONS": rest}
    return {"ENGINE": "django.db.backends.postgresql", **given}


settings.configure(DATABASES={"default": database(DATABASE), "protected": database(PROTECTED or DATABASE)}, USE_TZ=True)
django.setup()


class Customer(models.Model):
    name = models.TextField()
    email = models.TextField()
    phone = models.TextField()
    note = models.TextField()

    class Meta:
        app_label, managed, db_table = "shop", False, "customers"


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        app_label, managed, db_table = "shop", False, "orders"


class Draft(models.Model):
    title = models.CharField(max_length=40, unique=True)
    told = models.JSONField(default=dict)

    class Meta:
        app_label = "shop"


with connection.cursor() as cursor:
    introspection = connection.introspection
    for table in ("customers", "orders", "kinds"):
        tell(f"columns of {table}", [tuple(each) for each in introspection.get_table_description(cursor, table)])
        tell(f"constraints of {table}", introspection.get_constraints(cursor, table))
    tell("tables", sorted(tuple(each)[:2] for each in introspection.get_table_list(cursor)))
    cursor.execute("SELECT id, at, wall, tags, raw, uid, amount FROM kinds ORDER BY id")
    tell("types", cursor.fetchall())
people = Customer.objects.order_by("id").values_list("id", "name", "email", "phone", "note")
tell_table("customers", ["id", "name", "email", "phone", "note"], people)
tell("joined", list(Order.objects.filter(customer__note="loud").values_list("id", "total")))
tell("iterator", sum(1 for _ in Order.objects.iterator(chunk_size=2)))
with transaction.atomic():
    Order.objects.bulk_create(Order(id=n, customer_id=1, total=n) for n in range(50, 60))
    tell("bulk_create", Order.objects.count())
    transaction.set_rollback(True)
tell("rolled back", Order.objects.count())
with connection.schema_editor() as editor:
    editor.create_model(Draft)
Draft.objects.create(title="one", told={"a": 1})
try:
    with transaction.atomic():
        Draft.objects.create(title="one")
except DatabaseError as error:
    tell("unique", [type(error).__name__, error.__cause__.sqlstate])
tell("updated", Draft.objects.filter(title="one").update(title="two"))
with connection.schema_editor() as editor:
    editor.delete_model(Draft)
if PROTECTED:
    for step, text in (("denied", "DROP TABLE orders"), ("held", "DELETE FROM orders")):
        with connections["protected"].cursor() as cursor:
            try:
                cursor.execute(text)
            except DatabaseError as error:
                cursor.execute("SELECT 1")
                tell(step, [error.__cause__.sqlstate, str(error), cursor.fetchone()])
