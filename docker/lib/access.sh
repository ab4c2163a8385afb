# shellcheck shell=bash
# How a laptop gets in: the people's keys and secrets, the hosts' real keys, ssh_config.
# Needs DOCKER, RUN_DIR and the ids of the containers LOGIN, LOGIN2 and BASTION.

FIRST_PORT=22022
LAST_PORT=22999

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port of the last `up` if it is still free, so that a tunnel of the user's finds it again.
choose_port() {
    local port last=
    if [[ -r $RUN_DIR/port ]]; then last=$(<"$RUN_DIR/port"); fi
    for port in ${HPC_SSH_PORT:-$last $(seq "$FIRST_PORT" "$LAST_PORT")}; do
        if port_is_free "$port"; then printf '%s\n' "$port"; return; fi
    done
    die "no free port on 127.0.0.1 (tried ${HPC_SSH_PORT:-$FIRST_PORT to $LAST_PORT})" \
        "choose one with HPC_SSH_PORT=PORT"
}

make_key() {  # FILE [PASSPHRASE]
    if [[ -s $1 && -s $1.pub ]]; then return; fi
    rm -f "$1" "$1.pub"
    ssh-keygen -q -t ed25519 -N "${2:-}" -C "hpclaunch test cluster" -f "$1"
}

# Secrets are made once and kept in files of mode 0600; passwords hold what shells stumble over.
make_secret() {  # NAME: of a person's kind of secret, as erin.totp
    local file=$RUN_DIR/secrets/$1
    if [[ -s $file ]]; then return; fi
    case $1 in
        *.totp) head -c 20 /dev/urandom | base32 >"$file" ;;
        *) printf '%s%s\n' "%h \$HOME \"it's\" " "$(head -c 6 /dev/urandom | base32)" >"$file" ;;
    esac
}

make_secrets() {
    local name
    (umask 077 && mkdir -p "$RUN_DIR/secrets")
    for name in dave.password erin.password frank.password erin.totp frank.totp kim.passphrase; do
        (umask 077 && make_secret "$name")
    done
    make_key "$RUN_DIR/id_ed25519"
    for name in mallory kim frank carl bob zoe tess pat user_ca; do make_key "$RUN_DIR/${name}_ed25519"; done
    make_key "$RUN_DIR/kim_locked_ed25519" "$(<"$RUN_DIR/secrets/kim.passphrase")"
    ssh-keygen -q -s "$RUN_DIR/user_ca_ed25519" -I carl -n carl "$RUN_DIR/carl_ed25519.pub"
}

# What the site is told of its people, as image/admit reads it.
pack_people() {  # DIRECTORY
    local name
    mkdir "$1/authorized" "$1/totp"
    cp "$RUN_DIR/user_ca_ed25519.pub" "$1/user_ca.pub"
    cp "$RUN_DIR/id_ed25519.pub" "$1/authorized/alice"
    for name in mallory kim frank bob zoe tess pat; do
        cp "$RUN_DIR/${name}_ed25519.pub" "$1/authorized/$name"
    done
    cat "$RUN_DIR/kim_locked_ed25519.pub" >>"$1/authorized/kim"
    for name in erin frank; do cp "$RUN_DIR/secrets/$name.totp" "$1/totp/$name"; done
    for name in dave erin frank; do
        printf '%s:%s\n' "$name" "$(<"$RUN_DIR/secrets/$name.password")"
    done >"$1/passwords"
}

admit_people() {
    local people host
    people=$(mktemp -d)
    CLEANUP+=("$people")
    pack_people "$people"
    for host in "$LOGIN" "$LOGIN2" "$BASTION"; do
        tar -C "$people" -c . | "$DOCKER" exec -i "$host" /usr/local/lib/hpclaunch-cluster/admit
    done
    rm -rf "$people"
}

# host_key CONTAINER: read inside the container, so that nothing on the network is trusted for it.
host_key() { "$DOCKER" exec "$1" cat /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f1,2; }

# The port of the host that leads to sshd of a container.
port_of() { "$DOCKER" port "$1" 22/tcp | sed -n 's/^127\.0\.0\.1://p' | head -n 1; }

# Two hosts answer to the name of the login nodes: both keys stand for it.
write_known_hosts() {  # PORT PORT2 BASTION_PORT
    local one two between
    one=$(host_key "$LOGIN")
    two=$(host_key "$LOGIN2")
    between=$(host_key "$BASTION")
    {
        printf '[127.0.0.1]:%s,login,hpclaunch-login-any %s\n' "$1" "$one"
        printf '[127.0.0.1]:%s,login2,hpclaunch-login-any %s\n' "$2" "$two"
        printf '[127.0.0.1]:%s,bastion %s\n' "$3" "$between"
    } >"$RUN_DIR/known_hosts.new"
    mv "$RUN_DIR/known_hosts.new" "$RUN_DIR/known_hosts"
}

write_host() {  # ALIAS HOSTNAME PORT USER [KEY|none] [MORE]; ssh expands % in file names
    local key=${5:-none}
    printf 'Host %s\n    HostName %s\n    Port %s\n    User %s\n' "$1" "$2" "$3" "$4"
    if [[ $key != none ]]; then key="\"${RUN_DIR//%/%%}/$key\""; fi
    printf '    IdentityFile %s\n' "$key"
    if [[ -n ${6:-} ]]; then printf '    %s\n' "$6"; fi
    cat <<CONFIG
    IdentitiesOnly yes
    UserKnownHostsFile "${RUN_DIR//%/%%}/known_hosts"
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    ForwardAgent no

CONFIG
}

write_hosts() {  # PORT PORT2 BASTION_PORT
    local here=127.0.0.1 login=hpclaunch-login name
    printf '# Written by docker/cluster up; removed by docker/cluster down.\n\n'
    write_host $login $here "$1" alice id_ed25519
    for name in mallory kim frank carl bob zoe tess pat; do
        write_host "$login-$name" $here "$1" "$name" "${name}_ed25519"
    done
    write_host $login-kim-locked $here "$1" kim kim_locked_ed25519
    write_host $login-dave $here "$1" dave
    write_host $login-erin $here "$1" erin
    write_host hpclaunch-login2 $here "$2" kim kim_ed25519
    write_host hpclaunch-bastion $here "$3" kim kim_ed25519
    write_host hpclaunch-bastion-dave $here "$3" dave
    write_host $login-behind login 22 kim kim_ed25519 'ProxyJump hpclaunch-bastion'
    write_host $login-erin-behind login 22 erin none 'ProxyJump hpclaunch-bastion-dave'
}

write_access() {  # PORT
    local port2 bastion_port
    port2=$(port_of "$LOGIN2")
    bastion_port=$(port_of "$BASTION")
    make_secrets
    admit_people
    write_known_hosts "$1" "$port2" "$bastion_port"
    write_hosts "$1" "$port2" "$bastion_port" >"$RUN_DIR/ssh_config.new"
    mv "$RUN_DIR/ssh_config.new" "$RUN_DIR/ssh_config"
}

remove_access() {
    rm -rf "$RUN_DIR"/{ssh_config,known_hosts,secrets} "$RUN_DIR"/*_ed25519 "$RUN_DIR"/*_ed25519*.pub
}
