"""Message brokers: mosquitto and RabbitMQ."""

import os
from pathlib import Path

from tests.e2e.live.place import ADDRESS, Case, Place

MQTT, AMQP, DISTRIBUTION, EPMD = 18884, 18672, 18673, 18674


def mosquitto(place: Place) -> None:
    config = place.folder("mosquitto") / "mosquitto.conf"
    config.write_text(f"listener {MQTT} 0.0.0.0\nallow_anonymous true\nuser root\npersistence false\n")
    place.start("mosquitto", "-c", config)
    place.listens(MQTT)


def publish(place: Place) -> None:
    """Publish with and without an acknowledgement, and take both; of MQTT 3.1.1 and 5."""
    for version in ("311", "5"):
        server = ("-h", ADDRESS, "-p", str(MQTT), "-V", version)
        place.run("mosquitto_pub", *server, "-t", "live/once", "-q", "1", "-r", "-m", "word")
        place.run("mosquitto_pub", *server, "-t", "live/twice", "-q", "2", "-r", "-m", "word")
        place.run("mosquitto_sub", *server, "-t", "live/#", "-q", "0", "-C", "2", "-W", "5")


def rabbitmq(place: Place) -> None:
    folder = place.folder("rabbitmq", "rabbitmq")
    (folder / "rabbitmq.conf").write_text(
        "loopback_users = none\nlisteners.tcp.default = 18672\nlog.console = true\n"
    )
    settings = {
        "HOME": folder,
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
        "RABBITMQ_MNESIA_BASE": folder / "mnesia",
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_NODENAME": f"live{os.getpid()}@localhost",
        "RABBITMQ_NODE_PORT": AMQP,
        "RABBITMQ_DIST_PORT": DISTRIBUTION,
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
        "ERL_EPMD_PORT": EPMD,
    }
    (folder / "plugins").write_text("[].")
    runuser = (
        "runuser",
        "-u",
        "rabbitmq",
        "--",
        "env",
        *(f"{key}={value}" for key, value in settings.items()),
    )
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on the PATH changes the user by itself
    place.start(*runuser, program if program.exists() else place.tool("rabbitmq-server"))
    place.listens(AMQP)


def queue(place: Place) -> None:
    """Make a queue, put something into it, get it, get nothing, take the queue away."""
    server = ("--server", ADDRESS, "--port", str(AMQP))
    place.run("amqp-declare-queue", *server, "-q", "live")
    place.run("amqp-publish", *server, "-r", "live", "-b", "word")
    place.run("amqp-get", *server, "-q", "live")
    place.run("amqp-get", *server, "-q", "live", check=False)
    place.run("amqp-delete-queue", *server, "-q", "live")


CASES = [
    Case(
        "mosquitto",
        "mqtt",
        "mosquitto",
        mosquitto,
        publish,
        {
            ("connect", "success"): 6,
            ("publish", "success"): 3,
            ("publish", "no_matching_subscribers"): 1,  # only version 5 says so, of what is retained
            ("pubrel", "success"): 2,
            ("subscribe", "success"): 2,
        },
        {("mqtt", "3.1.1"): 3, ("mqtt", "5"): 3},
    ),
    Case(
        "RabbitMQ",
        "amqp",
        "beam.smp",
        rabbitmq,
        queue,
        {
            ("connection.open", "ok"): 5,
            ("channel.open", "ok"): 5,
            ("queue.declare", "ok"): 1,
            ("basic.get", "ok"): 1,
            ("basic.get", "empty"): 1,
            ("queue.delete", "ok"): 1,
            ("channel.close", "ok"): 5,
            ("connection.close", "ok"): 5,
        },
        {("amqp", "0-9-1"): 5},
    ),
]
