"""Files and mail: vsftpd, Exim, Dovecot (IMAP, POP3), all asked by curl."""

from pathlib import Path

from tests.e2e.live.place import ADDRESS, Case, Place

FTP, FTP_DATA, SMTP, IMAP, POP3 = 18021, "18900:18999", 18025, 18143, 18110
CURL = ("curl", "-sv", "--noproxy", "*", "--max-time", "10")
MESSAGE = "From: a@example.test\r\nTo: b@example.test\r\nSubject: live\r\n\r\nSome words.\r\n"

# ---------------------------------------------------------------- FTP

VSFTPD = """
listen=YES
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=NO
anon_root={folder}/files
no_anon_password=NO
secure_chroot_dir={folder}/empty
pasv_min_port={first}
pasv_max_port={last}
connect_from_port_20=NO
seccomp_sandbox=NO
xferlog_enable=NO
use_localtime=NO
"""
SIZE = 30_000


def vsftpd(place: Place) -> None:
    folder = place.folder("vsftpd")
    for name in ("files", "empty"):
        (folder / name).mkdir(mode=0o755)
    (folder / "files" / "file").write_bytes(b"x" * SIZE)
    (folder / "files" / "file").chmod(0o644)
    first, last = FTP_DATA.split(":")
    config = folder / "vsftpd.conf"
    config.write_text(VSFTPD.format(port=FTP, folder=folder, first=first, last=last))
    place.start("vsftpd", config)
    place.listens(FTP)


def transfers(place: Place) -> None:
    """A file and a listing in passive mode, a file in active mode, and one that is not there."""
    url = f"ftp://{ADDRESS}:{FTP}"
    place.run(*CURL, "-o", "/dev/null", f"{url}/file")
    place.run(*CURL, "-o", "/dev/null", f"{url}/")
    place.run(*CURL, "-P", "-", "-o", "/dev/null", f"{url}/file")
    place.run(*CURL, "-o", "/dev/null", f"{url}/none", check=False)


# ---------------------------------------------------------------- SMTP

EXIM = """
primary_hostname = mail.example.test
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
keep_environment =
host_lookup =
queue_only = true
acl_smtp_rcpt = recipient
begin acl
recipient:
  accept domains = example.test
  deny message = not here
"""


def exim(place: Place) -> None:
    folder = place.folder("exim", "Debian-exim")
    config = folder / "exim.conf"
    config.write_text(EXIM.format(folder=folder))
    place.start("exim4", "-bdf", "-oX", str(SMTP), "-oP", folder / "pid", "-C", config)
    place.listens(SMTP)


def send(place: Place) -> None:
    """A message that is taken, and one that is not."""
    message = place.servers.root / "message"
    message.write_text(MESSAGE)
    for whom in ("b@example.test", "b@example.org"):
        people = ("--mail-from", "a@example.test", "--mail-rcpt", whom)
        url = f"smtp://{ADDRESS}:{SMTP}/client.example.test"
        place.run(*CURL, *people, "-T", message, url, check=False)


# ---------------------------------------------------------------- IMAP and POP3

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap pop3
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


def dovecot(place: Place) -> None:
    folder = place.folder("dovecot")
    (folder / "mail").mkdir()
    new: Path = folder / "mail" / "new"
    for each in ("new", "cur", "tmp"):
        (folder / "mail" / each).mkdir()
    for number in range(2):
        (new / f"{number}.live").write_text(MESSAGE)
    for path in (folder / "mail", *(folder / "mail").rglob("*")):
        import shutil

        shutil.chown(path, "mail", "mail")
    config = folder / "dovecot.conf"
    config.write_text(DOVECOT.format(folder=folder, imap=IMAP, pop3=POP3))
    place.start("dovecot", "-F", "-c", config)
    place.listens(POP3)


def mailbox(place: Place) -> None:
    """A message, a list of mailboxes, and a mailbox that is not there."""
    url, user = f"imap://{ADDRESS}:{IMAP}", ("-u", "live:secret")
    place.run(*CURL, *user, f"{url}/INBOX;MAILINDEX=1")
    place.run(*CURL, *user, f"{url}/")
    place.run(*CURL, *user, f"{url}/none;MAILINDEX=1", check=False)


def maildrop(place: Place) -> None:
    """A list, a message, and a message that is not there."""
    url, user = f"pop3://{ADDRESS}:{POP3}", ("-u", "live:secret")
    place.run(*CURL, *user, f"{url}/")
    place.run(*CURL, *user, f"{url}/1")
    place.run(*CURL, *user, f"{url}/9", check=False)


CASES = [
    Case(
        "vsftpd",
        "ftp",
        "vsftpd",
        vsftpd,
        transfers,
        {
            ("USER", "3xx"): 4,
            ("PASS", "2xx"): 4,
            ("PWD", "2xx"): 4,
            ("EPSV", "2xx"): 3,
            ("EPRT", "2xx"): 1,
            ("TYPE", "2xx"): 4,
            ("SIZE", "2xx"): 2,
            ("SIZE", "5xx"): 1,
            ("RETR", "2xx"): 2,
            ("LIST", "2xx"): 1,
            ("QUIT", "2xx"): 4,
        },
        beside=frozenset({"ftp_data"}),
    ),
    Case(
        "Exim",
        "smtp",
        "exim4",
        exim,
        send,
        {
            ("EHLO", "2xx"): 2,
            ("MAIL", "2xx"): 2,
            ("RCPT", "2xx"): 1,
            ("RCPT", "5xx"): 1,
            ("DATA", "2xx"): 1,
            ("QUIT", "2xx"): 2,
        },
    ),
    Case(
        "Dovecot, IMAP",
        "imap",
        "imap-login",
        dovecot,
        mailbox,
        {
            ("CAPABILITY", "ok"): 3,
            ("AUTHENTICATE", "ok"): 3,
            ("SELECT", "ok"): 1,
            ("SELECT", "no"): 1,
            ("FETCH", "ok"): 1,
            ("LIST", "ok"): 1,
            ("LOGOUT", "ok"): 3,
        },
        further=("dovecot", "imap"),
    ),
    Case(
        "Dovecot, POP3",
        "pop3",
        "pop3-login",
        dovecot,
        maildrop,
        {
            ("CAPA", "ok"): 3,
            ("AUTH", "ok"): 3,
            ("LIST", "ok"): 1,
            ("RETR", "ok"): 1,
            ("RETR", "err"): 1,
            ("QUIT", "ok"): 3,
        },
        further=("dovecot", "pop3"),
    ),
]
