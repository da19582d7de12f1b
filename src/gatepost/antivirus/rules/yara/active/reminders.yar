/* Reminders of Outlook messages, as `text/x-outlook-reminder`: `sound: …`. */

rule outlook_remote_reminder {
    meta:
        threat = "Heuristic.Outlook.RemoteReminder"
        outcome = "suspicious"
        evidence = "an Outlook message whose reminder fetches its sound from another host (CVE-2023-23397)"
    strings:
        $share = /sound: *[\\\/]{2}[^\\\/.?]/
        $device = /sound: *[\\\/]{1,2}[.?]{1,2}[\\\/]+(unc|globalroot)[\\\/]/ nocase
        $address = /sound: *(file|https?):/ nocase
    condition:
        object_type == "text/x-outlook-reminder" and any of them
}
