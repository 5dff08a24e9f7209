#!/usr/bin/perl
# Calls methods of the storage plugin as Proxmox does: one JSON request {method, args} a line on standard input, one JSON answer
# {result | error, commands} a line on standard output. Arguments: the id of the storage, its settings as JSON, a folder that
# stands for / of the host.
use strict;
use warnings;

use JSON;
use PVE::Storage;
use PVE::Tools;

my ($storeid, $settings, $root) = @ARGV;
my $scfg = decode_json($settings);
my $module = 'PVE::Storage::Custom::GemelPlugin';
PVE::Storage::load_plugin($module);
{
    no warnings 'once';
    $PVE::Storage::Custom::GemelPlugin::PRIVATE = "$root/priv";
    $Gemel::PVE::Known::RUN = "$root/run";
    $Gemel::PVE::Host::BY_ID = "$root/by-id";
    $Gemel::PVE::Host::DEVICE_PATIENCE = 2;
    $Gemel::PVE::Host::INITIATOR_FILE = "$root/initiatorname.iscsi";
    @Gemel::PVE::Host::NODE_FOLDERS = ("$root/nodes");
}
# A host without the kernel's initiator: what would be run is written down, and its effects are files.
$PVE::Tools::recorded{'/usr/bin/iscsiadm'} = sub {
    my ($iqn, $portal) = ("@_" =~ m/-T (\S+)/, "@_" =~ m/-p (\S+)/);
    return 0 if "@_" !~ m/-o new/;
    my ($host, $port) = $portal =~ m/^(.*):(\d+)$/;
    for my $folder ("$root/nodes", "$root/nodes/$iqn", "$root/nodes/$iqn/$host,$port,1") { mkdir($folder); }
    PVE::Tools::file_set_contents("$root/nodes/$iqn/$host,$port,1/default",
        "# BEGIN RECORD 2.1.8\nnode.name = $iqn\nnode.session.auth.authmethod = None\n# END RECORD\n", 0600);
    return 0;
};
$PVE::Tools::recorded{$_} = 0 for '/sbin/multipath', '/sbin/multipathd', '/usr/bin/udevadm';

my %helpers = (
    properties_clash => sub { [grep { $PVE::Storage::Plugin::elsewhere{$_} } keys %{ $module->properties() }] },
    options_unknown => sub {
        my %known = (%PVE::Storage::Plugin::elsewhere, %{ $module->properties() });
        return [grep { !$known{$_} } keys %{ $module->options() }];
    },
);
# Proxmox gives these the settings first and the id second; all others the id first.
my %settings_first = map { $_ => 1 } qw(path filesystem_path qemu_blockdev_options clone_image volume_size_info volume_resize
    rename_volume volume_snapshot volume_snapshot_delete volume_snapshot_rollback volume_rollback_is_possible
    volume_snapshot_info volume_has_feature);

$| = 1;
while (my $line = <STDIN>) {
    my $request = decode_json($line);
    my $method = $request->{method};
    my @args = @{ $request->{args} // [] };
    @PVE::Tools::commands = ();
    my @result = eval {
        return $helpers{$method}->(@args) if $helpers{$method};
        return $module->$method(@args) if $method =~ m/^(api|type|plugindata|parse_volname|options|properties|volume_qemu_snapshot_method)$/;
        return ($module->path($scfg, $args[0], $storeid, $args[1]))[0] if $method eq 'path';
        return $module->volume_has_feature($scfg, $args[0], $storeid, @args[1 .. $#args]) if $method eq 'volume_has_feature';
        return $settings_first{$method} ? $module->$method($scfg, $storeid, @args) : $module->$method($storeid, $scfg, @args);
    };
    my $answer = $@ ? { error => "$@" } : { result => @result > 1 ? \@result : $result[0] };
    $answer->{commands} = [@PVE::Tools::commands];
    print JSON->new->canonical->allow_nonref->encode($answer), "\n";
}
