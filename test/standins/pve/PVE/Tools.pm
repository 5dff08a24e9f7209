package PVE::Tools;

# Stands in for PVE::Tools: the functions the storage plugin calls. Commands are run for real, except those listed in
# $PVE::Tools::recorded, which are written down (a machine without a kernel initiator cannot log in).

use strict;
use warnings;

use base 'Exporter';
our @EXPORT_OK = qw(run_command file_read_firstline file_get_contents file_set_contents);

our @commands;
# Programs that are not run, and the status each ends with.
our %recorded;

sub run_command {
    my ($command, %how) = @_;

    push @commands, [@$command];
    my $status;
    if (exists($recorded{ $command->[0] })) {
        my $act = $recorded{ $command->[0] };
        $status = ref($act) ? $act->(@$command) : $act;
    } else {
        open(my $out, '-|', @$command) or die "cannot run $command->[0]: $!\n";
        while (my $line = <$out>) {
            chomp($line);
            $how{outfunc}->($line) if $how{outfunc};
        }
        close($out);
        $status = $? >> 8;
    }
    die "command '@$command' failed: exit code $status\n" if $status && !$how{noerr};
    return $status;
}

sub file_get_contents {
    my ($file) = @_;
    open(my $fh, '<', $file) or die "can't open '$file' - $!\n";
    local $/;
    return scalar(<$fh>);
}

sub file_read_firstline {
    my ($file) = @_;
    open(my $fh, '<', $file) or return undef;
    my $line = <$fh>;
    chomp($line) if defined($line);
    return $line;
}

sub file_set_contents {
    my ($file, $data, $mode) = @_;
    my $new = "$file.tmp.$$";
    open(my $fh, '>', $new) or die "can't write '$new' - $!\n";
    chmod($mode // 0644, $new);
    print {$fh} $data;
    close($fh) or die "can't write '$new' - $!\n";
    rename($new, $file) or die "can't write '$file' - $!\n";
    return;
}

1;
