# SPDX-License-Identifier: MIT OR Apache-2.0
package PVE::Storage::Custom::GemelPlugin;

# A storage of Proxmox VE whose disks are volumes of Gemel: each is a LUN of a target of its own, snapshots and clones are made
# inside the storage, and a mirrored volume is there over the portals of both nodes.
#
# A volume is called PREFIX-vm-100-disk-0 there. A template keeps that name and has a snapshot `pve.template`: what Proxmox calls
# base-100-disk-0 and vm-100-disk-0 is the same volume. Linked clones are volumes of their own that share what they have not
# changed, so nothing depends on a template any more once it was cloned.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON;
use Time::HiRes ();
use PVE::Tools qw(file_read_firstline file_set_contents);

use Gemel::PVE::Chap;
use Gemel::PVE::Client;
use Gemel::PVE::Host;
use Gemel::PVE::Known;
use Gemel::PVE::Names;
use Gemel::PVE::Settings;

use base qw(PVE::Storage::Plugin);

# Versions of the storage API this was written for (ApiChangeLog of pve-storage).
use constant API_OLDEST => 9;
use constant API_NEWEST => 15;
use constant BASE_SNAPSHOT => Gemel::PVE::Names::BASE_SNAPSHOT;
# Bytes: the smallest volume, and the unit of sizes.
use constant MIB => 1_048_576;
# Names that are tried when others take them at the same moment.
use constant MAX_TRIES => 32;
our $PRIVATE = '/etc/pve/priv/storage';

sub api {
    my $current = PVE::Storage->can('APIVER') ? PVE::Storage::APIVER() : API_OLDEST;
    return $current if $current >= API_OLDEST && $current <= API_NEWEST;
    return $current < API_OLDEST ? API_OLDEST : API_NEWEST;
}

sub type { return 'gemel'; }

sub plugindata { return Gemel::PVE::Settings::plugindata(); }

sub properties { return Gemel::PVE::Settings::properties(); }

sub options { return Gemel::PVE::Settings::options(); }

# --- the API, and what is kept of it ---

sub _token_file { return "$PRIVATE/$_[0].pw"; }

my $clients = {};

sub _client {
    my ($storeid, $scfg, $token) = @_;

    $token //= file_read_firstline(_token_file($storeid));
    my $key = join("\0", $storeid, $scfg->{'gemel-api'}, $token // '');
    return $clients->{$key} //= Gemel::PVE::Client->new([split(/,/, $scfg->{'gemel-api'})], $token, $Gemel::PVE::Known::RUN);
}

sub _transport { return $_[0]->{'gemel-transport'} // 'iscsi'; }

sub _multipath { return $_[0]->{'gemel-multipath'} // 1; }

sub _socket { return $_[0]->{'gemel-socket'} // '/var/lib/gemel/nbd.sock'; }

# An idempotency key: the same for all attempts of one request, never for two requests.
my $asked = 0;
sub _key { return sha256_hex(join("\0", 'pve', $$, $asked++, Time::HiRes::time(), @_)); }

sub _target {
    my ($storeid, $scfg, $volume) = @_;
    return Gemel::PVE::Known::target(_client($storeid, $scfg), $storeid, $volume);
}

sub _unless_gone {
    my ($error) = @_;
    die $error if $error && (!ref($error) || $error->{code} ne 'not-found');
    return;
}

# --- storage.cfg ---

sub _check {
    my ($storeid, $scfg, $token) = @_;

    my $client = _client($storeid, $scfg, $token);
    my $me = $client->call('GET', '/session');
    die "the API token is one of a viewer: Proxmox has to make disks (gemel token create proxmox --role operator)\n"
        if $me->{role} eq 'viewer';
    _pool($client, $scfg);
    return;
}

sub on_add_hook {
    my ($class, $storeid, $scfg, %secret) = @_;

    die "an API token is needed: --password (gemel token create proxmox --role operator)\n" if !defined($secret{password});
    _check($storeid, $scfg, $secret{password});
    mkdir($PRIVATE);
    file_set_contents(_token_file($storeid), "$secret{password}\n", 0600);
    return;
}

sub on_update_hook {
    my ($class, $storeid, $scfg, %secret) = @_;

    return if !exists($secret{password});
    die "the API token cannot be taken away, only replaced\n" if !defined($secret{password});
    _check($storeid, $scfg, $secret{password});
    file_set_contents(_token_file($storeid), "$secret{password}\n", 0600);
    return;
}

sub on_delete_hook {
    my ($class, $storeid, $scfg) = @_;

    unlink(_token_file($storeid));
    return;
}

sub check_connection {
    my ($class, $storeid, $scfg) = @_;
    _client($storeid, $scfg)->call('GET', '/status');
    return 1;
}

sub activate_storage {
    my ($class, $storeid, $scfg, $cache) = @_;

    if (_transport($scfg) eq 'nbd') {
        my $socket = _socket($scfg);
        die "there is no NBD socket $socket: does a Gemel node run on this host?\n" if !-S $socket;
    } else {
        Gemel::PVE::Host::initiator_name();
    }
    return 1;
}

sub deactivate_storage { return 1; }

# The pool, as the API shows it.
sub _pool {
    my ($client, $scfg) = @_;

    return $client->call('GET', "/pools/$scfg->{'gemel-pool'}") if defined($scfg->{'gemel-pool'});
    my ($default) = grep { $_->{default} } @{ $client->list('/pools') };
    die "no Gemel pool is the default one: set gemel-pool\n" if !$default;
    return $default;
}

sub status {
    my ($class, $storeid, $scfg, $cache) = @_;

    my $facts = _pool(_client($storeid, $scfg), $scfg)->{facts} or return (0, 0, 0, 0);
    my $taken = $facts->{usedBytes} + $facts->{reservedBytes};
    my $total = $facts->{capacityBytes};
    $taken = $total if $taken > $total;
    return ($total, $total - $taken, $taken, 1);
}

# --- disks ---

sub parse_volname {
    my ($class, $volname) = @_;

    my ($name, $vmid, $isBase) = Gemel::PVE::Names::parse($volname);
    return ('images', $name, $vmid, undef, undef, $isBase, 'raw');
}

sub filesystem_path {
    my ($class, $scfg, $volname, $snapname, $storeid) = @_;
    my ($path, $vmid, $vtype) = $class->path($scfg, $volname, $storeid // $scfg->{storage}, $snapname);
    return wantarray ? ($path, $vmid, $vtype) : $path;
}

sub path {
    my ($class, $scfg, $volname, $storeid, $snapname) = @_;

    die "the name of the storage is needed\n" if !defined($storeid);
    my ($vtype, undef, $vmid) = $class->parse_volname($volname);
    my $volume = Gemel::PVE::Names::seen($storeid, $scfg, $volname, $snapname);
    my $transport = _transport($scfg);
    my $path;
    if ($transport eq 'nbd') {
        $path = 'nbd:unix:' . _socket($scfg) . ":exportname=$volume";
    } else {
        my $target = _target($storeid, $scfg, $volume);
        $path = $transport eq 'libiscsi'
            ? "iscsi://$target->{portals}->[0]/$target->{iqn}/$target->{lun}"
            : Gemel::PVE::Host::device_path($target->{naa}, _multipath($scfg));
    }
    return wantarray ? ($path, $vmid, $vtype) : $path;
}

# Since API 12: what QEMU opens. Only options of PVE::Storage's list are allowed there.
sub qemu_blockdev_options {
    my ($class, $scfg, $storeid, $volname, $machine_version, $options) = @_;

    my $snap = $options->{'snapshot-name'};
    my $volume = Gemel::PVE::Names::seen($storeid, $scfg, $volname, $snap);
    my $transport = _transport($scfg);
    if ($transport eq 'nbd') {
        my $socket = _socket($scfg);
        # A daemon that starts anew is a pause of some seconds, not an error of the guest's disk.
        return {
            driver => 'nbd',
            server => { type => 'unix', path => "$socket" },
            export => "$volume",
            'reconnect-delay' => 60,
        };
    }
    my $target = _target($storeid, $scfg, $volume);
    if ($transport eq 'libiscsi') {
        return {
            driver => 'iscsi',
            transport => 'tcp',
            portal => "$target->{portals}->[0]",
            target => "$target->{iqn}",
            lun => int($target->{lun}),
            'initiator-name' => Gemel::PVE::Host::initiator_name(),
        };
    }
    my $path = Gemel::PVE::Host::device_path($target->{naa}, _multipath($scfg));
    return { driver => 'host_device', filename => "$path" };
}

sub alloc_image {
    my ($class, $storeid, $scfg, $vmid, $fmt, $name, $size) = @_;

    die "a Gemel storage has raw disks only, not '$fmt'\n" if $fmt ne 'raw';
    my $body = { size => _round($size * 1024), kind => 'pool' };
    $body->{pool} = $scfg->{'gemel-pool'} if defined($scfg->{'gemel-pool'});
    $body->{replicas} = int($scfg->{'gemel-replicas'}) if defined($scfg->{'gemel-replicas'});
    return $class->_made($storeid, $scfg, $vmid, $name, '/volumes', $body);
}

# Has the API make a volume with a name that is free, or $name; returns the name of the disk. Proxmox locks the storage over its cluster
# meanwhile, but not every caller waits for that lock, and other clusters may use the same names: who takes a name is decided by the daemon,
# and whoever comes second takes the next one.
sub _made {
    my ($class, $storeid, $scfg, $vmid, $wanted, $path, $body) = @_;

    my $client = _client($storeid, $scfg);
    for (my $tries = 1; ; $tries++) {
        my $name = $wanted // $class->find_free_diskname($storeid, $scfg, $vmid, 'raw');
        die "'$name' is not a name for a disk of guest $vmid\n" if $name !~ m/^vm-\Q$vmid\E-/;
        my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $name);
        my $made = eval { $client->call('POST', $path, { %$body, name => $volume }, _key($path, $volume)) };
        if (my $error = $@) {
            die $error if defined($wanted) || $tries >= MAX_TRIES || !ref($error) || $error->{code} ne 'exists';
            next;
        }
        Gemel::PVE::Known::keep($storeid, $volume, $made);
        return $name;
    }
}

# Bytes, to whole MiB: what smaller disks (firmware variables, cloud-init) are rounded to.
sub _round {
    my ($bytes) = @_;
    return int(($bytes + MIB - 1) / MIB) * MIB || MIB;
}

sub free_image {
    my ($class, $storeid, $scfg, $volname, $isBase, $format) = @_;

    my $client = _client($storeid, $scfg);
    my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    # Its snapshots go with it, as on every storage of Proxmox. Gemel keeps what is deleted for its retention time.
    $class->deactivate_volume($storeid, $scfg, $volname, undef, {});
    eval { $client->call('DELETE', "/volumes/$volume?withSnapshots=true") };
    _unless_gone($@);
    Gemel::PVE::Known::forget($storeid, $volume);
    return undef;
}

sub list_images {
    my ($class, $storeid, $scfg, $vmid, $vollist, $cache) = @_;

    my $client = _client($storeid, $scfg);
    # The filter is a prefix.
    my $volumes = $client->list('/volumes?name=' . Gemel::PVE::Names::prefix($storeid, $scfg));
    my %wanted = map { $_ => 1 } @{ $vollist // [] };
    my ($base, @images);
    for my $volume (@$volumes) {
        my ($name, $owner) = Gemel::PVE::Names::disk($storeid, $scfg, $volume->{name}) or next;
        next if !$vollist && defined($vmid) && $owner ne $vmid;
        if ($volume->{snapshots}) {
            $base //= { map { $_->{volume} => 1 } grep { $_->{name} eq BASE_SNAPSHOT } @{ $client->list('/snapshots') } };
            $name =~ s/^vm-/base-/ if $base->{ $volume->{name} };
        }
        my $volid = "$storeid:$name";
        next if $vollist && !$wanted{$volid};
        my $image = { volid => $volid, format => 'raw', size => int($volume->{size}), vmid => $owner };
        $image->{used} = int($volume->{allocatedBytes}) if defined($volume->{allocatedBytes});
        $image->{ctime} = Gemel::PVE::Client::seconds($volume->{created});
        push @images, $image;
    }
    return \@images;
}

sub volume_size_info {
    my ($class, $scfg, $storeid, $volname, $timeout) = @_;

    my $shown = _client($storeid, $scfg)->call('GET', '/volumes/' . Gemel::PVE::Names::volume($storeid, $scfg, $volname));
    return wantarray ? (int($shown->{size}), 'raw', int($shown->{allocatedBytes} // 0), undef) : int($shown->{size});
}

# $size in bytes. True: QEMU is told the size by Proxmox.
sub volume_resize {
    my ($class, $scfg, $storeid, $volname, $size, $running) = @_;

    die "a disk over NBD grows only while its guest is off: NBD has no message for it\n"
        if $running && _transport($scfg) eq 'nbd';
    my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    my $target = Gemel::PVE::Known::keep($storeid, $volume, _client($storeid, $scfg)->call('PATCH', "/volumes/$volume", { size => _round($size) }));
    Gemel::PVE::Host::resized($target, _multipath($scfg))
        if _transport($scfg) eq 'iscsi' && Gemel::PVE::Host::attached($target);
    return 1;
}

sub rename_volume {
    my ($class, $scfg, $storeid, $source, $vmid, $name) = @_;

    my $client = _client($storeid, $scfg);
    $name //= $class->find_free_diskname($storeid, $scfg, $vmid, 'raw');
    die "'$name' is not a name for a disk of guest $vmid\n" if $name !~ m/^(?:vm|base)-\Q$vmid\E-/;
    my $old = Gemel::PVE::Names::volume($storeid, $scfg, $source);
    my $new = Gemel::PVE::Names::volume($storeid, $scfg, $name);
    my $isBase = ($class->parse_volname($source))[5];
    my @snapshots = grep { $_->{name} ne BASE_SNAPSHOT } @{ $client->list("/snapshots?volume=$old") };
    die "'$source' has snapshots: a disk is renamed by a clone of it, and they would be lost\n" if @snapshots;

    # The clone shares everything: no data is copied.
    $class->deactivate_volume($storeid, $scfg, $source, undef, {});
    Gemel::PVE::Known::keep($storeid, $new, $client->call('POST', "/volumes/$old/clone", { name => $new }, _key($old, $new)));
    eval {
        _take($client, $new, BASE_SNAPSHOT) if $isBase;
        $client->call('DELETE', "/volumes/$old?withSnapshots=true&purge=true");
    };
    if (my $error = $@) {
        eval { $client->call('DELETE', "/volumes/$new?withSnapshots=true&purge=true") };
        warn "could not delete '$new' again: $@" if $@;
        die $error;
    }
    Gemel::PVE::Known::forget($storeid, $old);
    return "$storeid:$name";
}

# --- snapshots, templates, clones ---

sub _take {
    my ($client, $volume, $snapshot) = @_;
    $client->call('POST', '/snapshots', { volumes => [$volume], name => $snapshot }, _key($volume, $snapshot));
    return;
}

# Since API 12: the storage does it, the guest goes on.
sub volume_qemu_snapshot_method { return 'storage'; }

sub volume_snapshot {
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    _take(_client($storeid, $scfg), Gemel::PVE::Names::volume($storeid, $scfg, $volname), Gemel::PVE::Names::snapshot($snap));
    return;
}

sub volume_snapshot_delete {
    my ($class, $scfg, $storeid, $volname, $snap, $running) = @_;

    my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    my $snapshot = Gemel::PVE::Names::snapshot($snap);
    $class->deactivate_volume($storeid, $scfg, $volname, $snap, {});
    eval { _client($storeid, $scfg)->call('DELETE', "/volumes/$volume/snapshots/$snapshot") };
    # Proxmox deletes again what it was interrupted in deleting.
    _unless_gone($@);
    return;
}

# Any snapshot can be gone back to; later ones stay.
sub volume_rollback_is_possible { return 1; }

sub volume_snapshot_rollback {
    my ($class, $scfg, $storeid, $volname, $snap) = @_;

    my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    # No host may have old blocks of it in its memory: Gemel refuses while somebody is logged in.
    $class->deactivate_volume($storeid, $scfg, $volname, undef, {});
    my $path = "/volumes/$volume/snapshots/" . Gemel::PVE::Names::snapshot($snap) . '/rollback';
    _client($storeid, $scfg)->call('POST', $path, undef, _key($volume, $snap));
    return;
}

sub volume_snapshot_info {
    my ($class, $scfg, $storeid, $volname) = @_;

    my $volume = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    my %info;
    for my $snapshot (@{ _client($storeid, $scfg)->list("/snapshots?volume=$volume") }) {
        my $snap = Gemel::PVE::Names::snapshot_of($snapshot->{name}) // next;
        $info{$snap} = { id => $snapshot->{id}, timestamp => Gemel::PVE::Client::seconds($snapshot->{created}) };
    }
    return \%info;
}

sub create_base {
    my ($class, $storeid, $scfg, $volname) = @_;

    my ($vtype, $name, $vmid, undef, undef, $isBase) = $class->parse_volname($volname);
    die "'$volname' is a template already\n" if $isBase;
    _take(_client($storeid, $scfg), Gemel::PVE::Names::volume($storeid, $scfg, $volname), BASE_SNAPSHOT);
    return $name =~ s/^vm-/base-/r;
}

sub clone_image {
    my ($class, $scfg, $storeid, $volname, $vmid, $snap) = @_;

    my $isBase = ($class->parse_volname($volname))[5];
    die "only templates and snapshots can be cloned, '$volname' is neither\n" if !$isBase && !defined($snap);
    my $snapshot = defined($snap) ? Gemel::PVE::Names::snapshot($snap) : BASE_SNAPSHOT;
    my $source = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    return $class->_made($storeid, $scfg, $vmid, undef, "/volumes/$source/clone", { snapshot => $snapshot });
}

sub volume_has_feature {
    my ($class, $scfg, $feature, $storeid, $volname, $snapname, $running, $opts) = @_;

    my $features = {
        snapshot => { current => 1 },
        clone => { base => 1, snap => 1 },
        template => { current => 1 },
        copy => { base => 1, current => 1, snap => 1 },
        sparseinit => { base => 1, current => 1 },
        rename => { current => 1 },
    };
    my $isBase = ($class->parse_volname($volname))[5];
    my $key = defined($snapname) ? 'snap' : $isBase ? 'base' : 'current';
    return $features->{$feature}->{$key};
}

# --- use by this host ---

# Who may see the volume when this host uses it.
sub _initiator {
    my ($scfg) = @_;
    return _transport($scfg) eq 'nbd' ? 'nbd' : Gemel::PVE::Host::initiator_name();
}

sub activate_volume {
    my ($class, $storeid, $scfg, $volname, $snapname, $cache, $hints) = @_;

    my $client = _client($storeid, $scfg);
    my $volume = Gemel::PVE::Names::seen($storeid, $scfg, $volname, $snapname);
    $class->_make_view($storeid, $scfg, $volname, $snapname, $volume) if defined($snapname);

    my $initiator = _initiator($scfg);
    my $map = "/volumes/$volume/maps/$initiator";
    my $access = defined($snapname) ? { access => 'read-only' } : {};
    my $shown = eval { $client->call('PUT', $map, $access) };
    if (my $error = $@) {
        # Without the API a disk that this host has used before can still be reached, if it is still mapped.
        die $error if !ref($error) || $error->{code} ne 'unreachable' || !Gemel::PVE::Known::known($storeid, $volume);
        warn "$error";
    } else {
        Gemel::PVE::Known::keep($storeid, $volume, $shown);
    }
    return 1 if _transport($scfg) ne 'iscsi';
    my $chap = $scfg->{'gemel-chap'} ? Gemel::PVE::Chap::credentials($client, "$PRIVATE/$storeid", $initiator) : undef;
    Gemel::PVE::Host::attach(_target($storeid, $scfg, $volume), _multipath($scfg), $chap);
    return 1;
}

sub deactivate_volume {
    my ($class, $storeid, $scfg, $volname, $snapname, $cache) = @_;

    my $client = _client($storeid, $scfg);
    my $volume = Gemel::PVE::Names::seen($storeid, $scfg, $volname, $snapname);
    my $target = eval { _target($storeid, $scfg, $volume) };
    if ($@) {
        _unless_gone($@);
        return 1;
    }
    Gemel::PVE::Host::detach($target, _multipath($scfg)) if _transport($scfg) eq 'iscsi';
    my $initiator = _initiator($scfg);
    eval { $client->call('DELETE', "/volumes/$volume/maps/$initiator") };
    _unless_gone($@);
    if (defined($snapname)) {
        $client->call('DELETE', "/volumes/$volume?purge=true");
        Gemel::PVE::Known::forget($storeid, $volume);
    }
    return 1;
}

# The clone through which a snapshot is read, made when it is not there.
sub _make_view {
    my ($class, $storeid, $scfg, $volname, $snap, $view) = @_;

    my $client = _client($storeid, $scfg);
    my $source = Gemel::PVE::Names::volume($storeid, $scfg, $volname);
    my $body = { name => $view, snapshot => Gemel::PVE::Names::snapshot($snap), readOnly => JSON::true };
    eval { Gemel::PVE::Known::keep($storeid, $view, $client->call('POST', "/volumes/$source/clone", $body, _key($view))) };
    if (my $error = $@) {
        die $error if !ref($error) || $error->{code} ne 'exists';
    }
    return;
}

1;
