"""Django with what comes with it: `migrate`, users, groups, permissions, sessions, the admin's pages, `dumpdata`."""

from __future__ import annotations

import io

import django
from django.conf import settings
from told import DATABASE, HOST, PASSWORD, PORT, USER, tell

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": DATABASE, "USER": USER, "HOST": HOST,
                           "PASSWORD": PASSWORD, "PORT": PORT, "OPTIONS": {"sslmode": "disable"}}},
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "django.contrib.messages", "django.contrib.sites"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
        "context_processors": ["django.template.context_processors.request",
                               "django.contrib.auth.context_processors.auth",
                               "django.contrib.messages.context_processors.messages"]}}],
    SECRET_KEY="of this try alone", ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], USE_TZ=True, SITE_ID=1,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"], STATIC_URL="/static/",
)  # fmt: skip
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db.models import Count, F, Max, Q, Subquery  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402

urlpatterns = [path("admin/", admin.site.urls)]
call_command("migrate", verbosity=0)
tell("migrate", 0)
call_command("showmigrations", stdout=io.StringIO())
call_command("inspectdb", stdout=io.StringIO())
tell("showmigrations, inspectdb", 0)
root = User.objects.create_superuser("root", "root@example.com", "root")
writers = Group.objects.create(name="writers")
writers.permissions.set(Permission.objects.filter(codename__startswith="add_"))
User.objects.bulk_create([User(username=f"u{n}", email=f"u{n}@example.com") for n in range(20)])
for user in (
    User.objects.filter(username__startswith="u1").select_for_update(skip_locked=True)
    if False
    else User.objects.all()[:3]
):
    user.groups.add(writers)
    user.last_name = "Doe"
    user.save(update_fields=["last_name"])
tell("users and groups", 0)
list(User.objects.filter(Q(groups__name="writers") | Q(is_staff=True)).distinct().order_by("-date_joined")[:5])
list(User.objects.annotate(n=Count("groups")).filter(n__gt=0).values("username", "n"))
User.objects.aggregate(Max("last_login"), Count("id"))
User.objects.filter(pk=root.pk).update(first_name=F("username"))
list(User.objects.prefetch_related("groups__permissions").select_related().only("username"))
list(User.objects.filter(pk__in=Subquery(User.objects.filter(is_active=True).values("pk"))))
User.objects.filter(username__icontains="u1", email__endswith="example.com").exists()
User.objects.get_or_create(username="u100", defaults={"email": "a@example.com"})
User.objects.update_or_create(username="u100", defaults={"email": "b@example.com"})
list(User.objects.dates("date_joined", "month"))
list(
    User.objects.values_list("is_staff")
    .annotate(Count("id"))
    .union(User.objects.values_list("is_active").annotate(Count("id")))
)
User.objects.in_bulk([1, 2, 3])
list(User.objects.raw("SELECT * FROM auth_user WHERE id = %s", [root.pk]))
tell("queries", 0)
client = Client()
client.force_login(root)
for page in ("", "auth/user/", "auth/user/?q=u1&is_staff__exact=0&o=2", "auth/user/add/",
             f"auth/user/{root.pk}/change/",
             "auth/group/", f"auth/group/{writers.pk}/change/", f"auth/user/{root.pk}/history/",
             f"auth/group/{writers.pk}/delete/", "sites/site/"):  # fmt: skip
    client.get(f"/admin/{page}")
tell("the admin's pages", 0)
client.post("/admin/auth/group/add/", {"name": "readers"})
client.post(f"/admin/auth/group/{writers.pk}/change/", {"name": "writers too", "permissions": ["1", "2"]})
client.post("/admin/auth/user/", {"action": "delete_selected", "_selected_action": ["5", "6"], "post": "yes"})
client.post(f"/admin/auth/group/{writers.pk}/delete/", {"post": "yes"})
tell("the admin's changes", 0)
User.objects.get(username="u9").delete()
User.objects.filter(username__in=["u7", "u8"]).delete()
call_command("dumpdata", "auth", stdout=io.StringIO())
call_command("clearsessions")
client.logout()
tell("deleted, dumped", 0)
